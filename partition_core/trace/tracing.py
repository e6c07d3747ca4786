"""Answers a model's questions about its input while torch.export traces it.

All uses of torch beyond its documented functions are here.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
from torch import fx
from torch._ops import HigherOrderOperator
from torch._subclasses import fake_tensor
from torch.fx.experimental import proxy_tensor
from torch.fx.experimental.sym_node import SymNode
from torch.fx.experimental.symbolic_shapes import (
    GuardOnDataDependentSymNode,
    free_unbacked_symbols,
    statically_known_false,
    statically_known_true,
)
from torch.overrides import TorchFunctionMode

from partition_core.trace.asker import Asker, asker_in, asker_of
from partition_core.trace.free_sizes import FreeSizes, TracedSize
from partition_core.trace.questions import NO_ANSWERS, Answers, Decision
from partition_core.trace.replaced import replaced

_CONSTANT = 64
"""The most elements of a tensor made of Python numbers whose values a trace knows."""


class NoArrayError(Exception):
    """A traced tensor was converted to a numpy array (torch itself raises a RuntimeError)."""


@dataclass
class TraceQuestions:
    """The questions of a model while it was traced: `decisions` are the answers, without repeats.

    `refused` are the exceptions for questions without an answer.
    """

    decisions: list[Decision] = field(default_factory=list)
    refused: list[Exception] = field(default_factory=list)

    def note(self, decision: Decision) -> None:
        """Add a decision unless it is already noted."""
        if decision not in self.decisions:
            self.decisions.append(decision)

    def hidden(self) -> Asker | None:
        """Return a line of the model whose refusal the model's own code caught, or None.

        The model then went on as if it had been answered. (torch catches its own refusals where
        another way is right for every input; these never reach the model's code.)
        """
        askers = (asker_in(error.__traceback__) for error in self.refused)
        return next((asker for asker in askers if asker is not None), None)


@contextlib.contextmanager
def traceable(answers: Answers = NO_ANSWERS) -> Iterator[TraceQuestions]:
    """Answer questions about sizes and masks by `answers`; yield the questions asked."""
    questions = TraceQuestions()
    with contextlib.ExitStack() as undo:
        # torch follows only single numbers, and models read sizes back from lists of them.
        undo.enter_context(replaced(fake_tensor, "CONSTANT_NUMEL_LIMIT", _CONSTANT))
        # This second cache of constants goes stale when a constant is written through a view.
        undo.enter_context(replaced(proxy_tensor, "CONSTANT_NUMEL_LIMIT", 0))
        undo.enter_context(replaced(torch.Tensor, "numpy", _no_array))
        for refusal in _REFUSALS:
            undo.enter_context(replaced(refusal, "__init__", _noting(refusal, questions)))
        if answers:
            # Python and C++ both call it when a symbolic boolean must be True or False.
            undo.enter_context(replaced(SymNode, "guard_bool", _answering(answers, questions)))
            undo.enter_context(replaced(SymNode, "expect_true", _expecting(questions)))
            undo.enter_context(_TensorQuestions(answers, questions))
        yield questions


_REFUSALS: tuple[type[Exception], ...] = (
    GuardOnDataDependentSymNode,
    fake_tensor.DataDependentOutputException,
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.UnsupportedFakeTensorException,
    NoArrayError,
)
"""The exceptions for a question that only a real input could answer."""


_numpy: Any = torch.Tensor.numpy


def _no_array(self: torch.Tensor, **options: Any) -> Any:
    if not isinstance(self, fake_tensor.FakeTensor):
        return _numpy(self, **options)
    raise NoArrayError("a traced tensor has no values for numpy")


def _noting(refusal: type[Exception], questions: TraceQuestions) -> Callable[..., None]:
    initialize: Callable[..., None] = refusal.__init__

    def noted(self: Exception, *arguments: Any, **options: Any) -> None:
        initialize(self, *arguments, **options)
        questions.refused.append(self)

    return noted


def _answering(answers: Answers, questions: TraceQuestions) -> Callable[[SymNode, str, int], bool]:
    """Return a `guard_bool` that looks up the answer where a boolean depends on the input."""
    ask: Callable[[SymNode, str, int], bool] = SymNode.guard_bool

    def answer(node: SymNode, file: str, line: int) -> bool:
        question = torch.SymBool(node)  # type: ignore[no-untyped-call]  # reason: torch's own class without annotations
        if statically_known_true(question):
            return True
        if statically_known_false(question):
            return False
        if not free_unbacked_symbols(question) or node.shape_env is None:
            return ask(node, file, line)
        asker = asker_of(sys._getframe(1))
        decision = answers.decide(node.expr, asker) if asker is not None else None
        # A number read out of a tensor is a symbol too, but not a number of rows.
        is_size = free_unbacked_symbols(question) <= node.shape_env.size_like
        if decision is None or not (is_size or decision.assumed):
            return ask(node, file, line)
        questions.note(decision)
        return decision.answer

    return answer


def _expecting(questions: TraceQuestions) -> Callable[[SymNode, str, int], bool]:
    """Return an `expect_true` that ignores an operator's checks that there are rows.

    After an answer the trace also stands for inputs on which PyTorch does not reach the operator,
    such as one that fails without rows. What such a check assumes about a size does not hold for
    them, and would silently answer the questions that follow.
    """
    expect: Callable[[SymNode, str, int], bool] = SymNode.expect_true

    def expected(node: SymNode, file: str, line: int) -> bool:
        env = node.shape_env
        if questions.decisions and env is not None and _excludes_none(node.expr, env.size_like):
            return True
        return expect(node, file, line)

    return expected


def _excludes_none(condition: sympy.Basic, sizes: set[sympy.Symbol]) -> bool:
    """Return whether `condition` is false if there are no input-dependent rows."""
    rows = free_unbacked_symbols(condition) & sizes
    # Two sizes that must be equal are one size from then on, also at zero.
    if not rows or isinstance(condition, sympy.Eq):
        return False
    return bool(condition.xreplace(dict.fromkeys(rows, sympy.Integer(0))) == sympy.false)


class _TensorQuestions(TorchFunctionMode):
    """Answers `bool()` of a tensor that depends on the input, as a question about a whole mask."""

    def __init__(self, answers: Answers, questions: TraceQuestions) -> None:
        super().__init__()
        self._answers = answers
        self._log = questions
        # The tensors are kept, so that an id is not reused.
        self._questions: dict[int, tuple[torch.Tensor, str]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        question = self._questions.get(id(args[0]), (None, ""))[1] if args else ""
        if func is torch.Tensor.__bool__:
            asker = asker_of(sys._getframe(1))
            decision = self._answers.decide(question or "bool()", asker) if asker else None
            if decision is not None:
                self._log.note(decision)
                return decision.answer
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dim() == 0:
            asks = _mask_question(getattr(func, "__name__", ""), args, question)
            if asks:
                self._questions[id(result)] = (result, asks)
        return result


def _mask_question(name: str, args: Any, before: str) -> str:
    """Return the question about a whole mask that a function asks, or an empty string.

    `before` is the question whose answer is its first argument, or empty.
    """
    if name in ("all", "any"):
        return f"{name}()"
    if name == "sum" and args[0].dtype == torch.bool:
        return "sum()"
    if before == "sum()" and name in _COMPARISONS:
        return f"sum() {_COMPARISONS[name]} {args[1]}"
    return ""


_COMPARISONS = {"eq": "==", "__eq__": "==", "gt": ">", "__gt__": ">"}


def has_branches(program: torch.export.ExportedProgram) -> bool:
    """Return whether a traced program branches or loops when it runs (`torch.cond` and others)."""
    modules = [each for each in program.graph_module.modules() if isinstance(each, fx.GraphModule)]
    return any(
        isinstance(node.target, HigherOrderOperator) and str(node.target) in _CONTROL_FLOW
        for module in modules
        for node in module.graph.nodes
    )


_CONTROL_FLOW = frozenset({"associative_scan", "cond", "map_impl", "scan", "while_loop"})
"""torch's operators that run one of several graphs, or one graph several times."""


def input_dims(program: torch.export.ExportedProgram) -> list[tuple[int | str, ...]]:
    """Return the dims of each input of a traced program: a number, or a symbol if not fixed."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    inputs = []
    for name in program.graph_signature.user_inputs:
        # A symbol that turned out to be a number while tracing prints as that number.
        dims = [str(dim) for dim in placeholders[str(name)].meta["val"].shape]
        inputs.append(tuple(int(dim) if dim.isdecimal() else dim for dim in dims))
    return inputs


def free_sizes(
    program: torch.export.ExportedProgram, axes: Sequence[tuple[int, int, str]]
) -> FreeSizes:
    """Return the sizes of `axes` and what the trace assumes about them.

    `axes` holds the number of an input, an axis that is not fixed, and its symbol in the recipe.
    """
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [placeholders[str(name)].meta["val"] for name in program.graph_signature.user_inputs]
    sizes: dict[str, TracedSize] = {}
    inner: dict[sympy.Symbol, int] = {}
    conditions: dict[sympy.Basic, None] = {}
    for number, axis, name in axes:
        size: Any = inputs[number].shape[axis]
        node = size.node
        env = node.shape_env
        sizes.setdefault(name, TracedSize(node.expr, int(node.hint)))
        for symbol in sorted(node.expr.free_symbols, key=str):
            inner[symbol] = int(env.backed_var_to_val[symbol])
            conditions.update(dict.fromkeys(_bounds(symbol, env.var_to_range[symbol])))
    for env in {id(env): env for env in _shape_envs(inputs)}.values():
        for guard in env.guards:
            condition = guard.expr.xreplace(env.replacements)
            if condition.free_symbols and condition.free_symbols <= set(inner):
                conditions[condition] = None
    return FreeSizes(sizes, inner, tuple(conditions))


def _shape_envs(inputs: list[torch.Tensor]) -> list[Any]:
    # In torch's stubs all sizes are numbers.
    dims: list[Any] = [dim for tensor in inputs for dim in tensor.shape]
    return [dim.node.shape_env for dim in dims if isinstance(dim, torch.SymInt)]


def _bounds(symbol: sympy.Symbol, allowed: Any) -> list[sympy.Basic]:
    bounds = []
    # Every size of a trace is at least 2 by default; that says nothing about the model.
    if allowed.lower > _FIRST_FREE:
        bounds.append(sympy.Ge(symbol, allowed.lower))
    if allowed.upper.is_Integer and allowed.upper < _NO_LIMIT:
        bounds.append(sympy.Le(symbol, allowed.upper))
    return bounds


_FIRST_FREE = 2
_NO_LIMIT = 2**31
