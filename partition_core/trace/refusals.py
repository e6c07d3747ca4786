"""The errors for a model that torch.export cannot trace: the line of its code, and what to do."""

from __future__ import annotations

import re

import sympy
import torch
from torch import nn
from torch._subclasses import fake_tensor
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.jit._script import RecursiveScriptModule

from partition_core.base.errors import ExportError, Problem, problem, suggestion
from partition_core.trace.asker import Asker, asker_in
from partition_core.trace.questions import Answers
from partition_core.trace.tracing import NoArrayError, TraceQuestions

_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_ONE_BRANCH = "an exported model takes the same branch for every input"
_NUMBER = "in an exported model, values that depend on the input are tensors"


def tracing_error(error: Exception) -> ExportError:
    """Return the error for an exception of torch.export while it traced a model."""
    asker = asker_in(error.__traceback__)
    if asker is not None and isinstance(error, GuardOnDataDependentSymNode):
        return ExportError(_question(error.cond, asker))
    if asker is not None and isinstance(error, NoArrayError):
        return ExportError(_number(asker))
    if asker is not None and isinstance(error, fake_tensor.DataDependentOutputException):
        return ExportError(_asks(asker, *_COMPARISON))
    if isinstance(error, torch.onnx.errors.OnnxExporterError):
        return ExportError.at(
            "model",
            "torch.onnx cannot translate the model",
            _reason(_innermost(error)),
            "mark and export a part of it, or change what the reason names",
        )
    return ExportError.at(
        "model",
        f"torch.export cannot trace the model{f', at {asker.label}' if asker else ''}",
        _reason(error),
        "mark and export a part of it, or change the model where it depends on its input",
    )


def check_followed(model: nn.Module) -> None:
    """Raise ExportError for modules of `model` whose code torch.export does not follow."""
    unfollowed = {
        path: reason for path, module in model.named_modules() if (reason := _unfollowed(module))
    }
    ExportError.refuse(
        problem(
            "model",
            f"{f'module {path!r}' if path else 'the model'} is {what}",
            "expected modules of Python, which torch.export can follow",
            remedy,
        )
        for path, (what, remedy) in unfollowed.items()
        # Modules inside such a module are not reported as well.
        if not any(_is_in(path, outer) for outer in unfollowed)
    )


def _is_in(path: str, outer: str) -> bool:
    return path != outer and (not outer or path.startswith(f"{outer}."))


def _unfollowed(module: nn.Module) -> tuple[str, str] | None:
    if isinstance(module, RecursiveScriptModule):
        return (
            "compiled by torch.jit.script",
            "give the module that it was compiled from, or one made by torch.jit.trace",
        )
    if type(module).__module__.startswith(_QUANTIZED):
        return (
            f"quantized by PyTorch ({type(module).__name__})",
            "give the model before quantization, and quantize the ONNX file (docs/quantize.md)",
        )
    return None


_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = _COLOURS.sub("", lines[0].partition(" (unhinted: ")[0]) if lines else ""
    return f"{type(error).__name__}: {first}"


def check_answers(answers: Answers, questions: TraceQuestions) -> None:
    """Raise ExportError for a question that the model's own code hid, and for unused answers."""
    problems = [_asks(asker, *_HIDDEN)] if (asker := questions.hidden()) is not None else []
    lines = sorted({decision.source for decision in questions.decisions})
    problems += [
        problem(
            f"export.answers[{index}].at",
            f"nothing is asked at '{answer.at}'",
            f"questions are asked at {', '.join(lines)}" if lines else "the model asks nothing",
            suggestion(answer.at, lines) or "remove the answer",
        )
        for index, answer in enumerate(answers.by_user)
        if not any(each.assumed and each.source == answer.at for each in questions.decisions)
    ]
    ExportError.refuse(problems)


def _question(condition: sympy.Basic, asker: Asker) -> Problem:
    if isinstance(condition, sympy.Expr):
        return _number(asker)
    return _asks(
        asker,
        f"takes a branch that depends on the input{_about(condition)}",
        _ONE_BRANCH,
        "write it with torch.where or torch.cond; if one branch is right for every input, say so "
        f"under 'export': {{answers: [{{at: '{asker.label}', answer: true}}]}}, or false",
    )


def _number(asker: Asker) -> Problem:
    return _asks(
        asker,
        "converts a tensor that depends on the input to a Python or numpy number",
        _NUMBER,
        "keep it a tensor (without int(), float(), range() or numpy), or mark and export a part "
        "of the model",
    )


def _about(condition: sympy.Basic) -> str:
    """Return, in brackets, the condition on a number of rows or elements, if it is about one."""
    symbols = sorted(str(symbol) for symbol in condition.free_symbols)
    if str(condition) in (f"Eq({symbol}, 1)" for symbol in symbols):
        return ""
    return f" (it asks '{condition}' of {', '.join(symbols)}, known only when the model runs)"


def _asks(asker: Asker, what: str, expected: str, remedy: str) -> Problem:
    line = f"{asker.label}: '{asker.code}'" if asker.code else asker.label
    return problem("model", f"{line} {what}", expected, remedy)


_COMPARISON = (
    "compares whole tensors, which depends on the input",
    _ONE_BRANCH,
    "compare element by element, and choose with torch.where or torch.cond",
)
_HIDDEN = (
    "depends on values of the input, and the model's own code catches the export error that this "
    "raises",
    _ONE_BRANCH,
    "move the line out of 'try', and write it with torch.where or torch.cond",
)
