"""Runs functions of mmdet on both sides of their questions: in PyTorch, and as exported."""

from __future__ import annotations

import ast
import linecache
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

from partition_core.recipe.values import ExportOptions, TensorSpec
from partition_core.sources.mmdet.questions import KNOWN_FUNCTIONS
from partition_core.sources.mmdet.replacements import mmdet_rules
from partition_core.sources.mmdet.source import ALL_TRANSLATIONS as TRANSLATIONS
from partition_core.trace.questions import Answers, Decision
from partition_core.trace.to_onnx import trace, translate
from tests.export.support import run, saved

Tensors = Mapping[str, torch.Tensor]
Arrays = dict[str, np.ndarray]
Line = tuple[str, str]
"""The qualified name of a function of the table of questions, and the text of a line of it."""

MODULES = {row.function: row.module for row in KNOWN_FUNCTIONS}


@dataclass(frozen=True)
class Case:
    """A module that calls functions of mmdet with sizes and masks that its inputs decide.

    `lines` are those whose question is asked; `inputs` reach both sides of each of them, and the
    first is traced. On `refused` PyTorch raises, so that there is nothing to compare. `emptied`
    are outputs to which mmdet gives another dtype where they have no element.
    """

    module: Callable[[], nn.Module]
    inputs: Sequence[Tensors]
    lines: tuple[Line, ...] = ()
    refused: Sequence[Tensors] = ()
    emptied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ran:
    """What PyTorch gave for the inputs of a case, and what each condition was, as booleans."""

    expected: list[Arrays]
    conditions: dict[Line, set[bool]]


class Together(nn.Module):
    """Modules side by side, each with its inputs: one model instead of many, which saves time."""

    def __init__(self, modules: Mapping[str, nn.Module], counts: Sequence[int]) -> None:
        super().__init__()
        self.parts, self.counts = nn.ModuleList(modules.values()), counts

    def forward(self, *tensors: torch.Tensor) -> Tensors:
        found = {}
        for number, (part, count) in enumerate(zip(self.parts, self.counts, strict=True)):
            mine, tensors = tensors[:count], tensors[count:]
            found |= {f"gives_{number}_{name}": one for name, one in part(*mine).items()}
        return found


@dataclass(frozen=True)
class Exported:
    """The ONNX file of the modules of cases side by side, and the decisions that it rests on."""

    file: Path
    decisions: list[Decision]
    samples: dict[str, Tensors]

    def __call__(self, name: str, inputs: Tensors) -> Arrays:
        """Return what the module of a case gives."""
        number = list(self.samples).index(name)
        found = run(
            self.file, {key: one.numpy() for key, one in named({**self.samples, name: inputs})}
        )
        mine = f"gives_{number}_"
        return {key.removeprefix(mine): one for key, one in found.items() if key.startswith(mine)}


def named(samples: Mapping[str, Tensors]) -> list[tuple[str, torch.Tensor]]:
    return [
        (f"takes_{number}_{name}", tensor)
        for number, inputs in enumerate(samples.values())
        for name, tensor in inputs.items()
    ]


def run_in_pytorch(case: Case, module: nn.Module) -> Ran:
    """Run a module on all inputs of a case, and look at the conditions of its lines."""
    expected: list[Arrays] = []

    def run_all() -> None:
        for inputs in case.inputs:
            found = module(*copies(inputs))
            expected.append({name: tensor.numpy() for name, tensor in found.items()})
        for inputs in case.refused:
            try:
                module(*copies(inputs))
            except (AssertionError, ValueError):
                continue
            raise RuntimeError("PyTorch gives a result, which is to be compared")

    with torch.no_grad():
        return Ran(expected, conditions_of(case.lines, run_all))


def export(modules: Mapping[str, nn.Module], cases: Mapping[str, Case], folder: Path) -> Exported:
    """Trace and translate the modules of cases as the product does with a model of mmdet."""
    samples = {name: cases[name].inputs[0] for name in modules}
    module = Together(modules, [len(inputs) for inputs in samples.values()]).eval()
    inputs = dict(named(samples))
    with torch.no_grad():
        names = list(module(*copies(inputs)))
    program, decisions = trace(
        module,
        copies(inputs),
        tuple({} for _ in inputs),
        mmdet_rules(),
        Answers(KNOWN_FUNCTIONS),
    )
    specs = tuple(TensorSpec(name, tuple(one.shape), "float32") for name, one in inputs.items())
    model = translate(
        program, ExportOptions(specs, (), (), 20), list(inputs), names, "asks", TRANSLATIONS
    )
    return Exported(saved(model, folder), decisions, samples)


def conditions_of(lines: Iterable[Line], run_it: Callable[[], None]) -> dict[Line, set[bool]]:
    """Call a function and return what the conditions of `lines` were each time they ran."""
    watched: dict[tuple[str, str], dict[str, CodeType]] = defaultdict(dict)
    for function, code in lines:
        watched[MODULES[function], function][code] = _condition(code)
    seen: dict[Line, set[bool]] = defaultdict(set)

    def at_line(frame: FrameType, event: str, _argument: Any) -> Any:
        function, conditions = _watched(frame)
        code = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and code in conditions:
            value = eval(conditions[code], frame.f_globals, frame.f_locals)  # noqa: S307 - reason: the condition that mmdet itself is about to ask
            seen[function, code].add(bool(value))
        return at_line

    def _watched(frame: FrameType) -> tuple[str, dict[str, CodeType]]:
        function = frame.f_code.co_qualname
        return function, watched.get((frame.f_globals.get("__name__", ""), function), {})

    before = sys.gettrace()
    sys.settrace(lambda frame, _event, _argument: at_line if _watched(frame)[1] else None)
    try:
        run_it()
    finally:
        sys.settrace(before)
    return dict(seen)


def copies(inputs: Tensors) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.clone() for tensor in inputs.values())


def _condition(code: str) -> CodeType:
    (statement,) = ast.parse(code if code.startswith("assert ") else f"{code} pass").body
    assert isinstance(statement, ast.If | ast.Assert)
    return compile(ast.Expression(statement.test), code, "eval")
