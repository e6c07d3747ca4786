"""Compares end2end with PyTorch module by module, from the outer ones inwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.arrays import Array
from partition_core.base.recording import Recording
from partition_core.base.wording import counted, first_of
from partition_core.graph.file.attributes import module_of
from partition_core.graph.file.graph import Model, Node
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.marks import MarkedTensor, marks_of
from partition_core.proof.comparison import (
    difference,
    form,
    is_rounded,
    largest_difference,
    magnitude,
    relative_l2,
)
from partition_core.proof.diagnosis.trial import Figures
from partition_core.proof.observed import Observed

_MOST_LISTED = 8


@dataclass(frozen=True)
class ModuleRow:
    """A tensor that a call of a module returns, with the node that makes it, and its figures."""

    module: str
    call: int
    tensor: str
    node: str
    operator: str
    figures: Figures

    @property
    def called(self) -> str:
        """The module, and which call of it unless it is the first."""
        return f"{self.module}[{self.call}]" if self.call else self.module


@dataclass(frozen=True)
class ModulePath:
    """The first wrong module inside the first wrong one, and so on, and all that was compared.

    `first` is the tensor of the innermost; None if no module differs. `levels` are the rows of each
    comparison, in the order of the calls.
    """

    first: ModuleRow | None
    levels: tuple[tuple[ModuleRow, ...], ...]


Compare = Callable[[Sequence[str]], Sequence[ModuleRow]]
"""Returns what some modules give, in the order of their calls."""
Children = Mapping[str, Sequence[str]]
"""The modules directly inside each one, in the order of the graph; the whole model is empty."""


def children_of(model: Model, wrapper: str = "") -> dict[str, list[str]]:
    """Return the modules that nodes of a model come from, by the one around them.

    `wrapper` is what a source calls the user's model inside of what it exports.
    """
    inside: dict[str, dict[str, None]] = {}
    for node in model.graph:
        path = _path(node, wrapper)
        steps = path.split(".") if path else []
        for end in range(len(steps)):
            parent, child = ".".join(steps[:end]), ".".join(steps[: end + 1])
            inside.setdefault(parent, {})[child] = None
    return {parent: list(children) for parent, children in inside.items()}


def first_wrong_module(children: Children, compare: Compare) -> ModulePath:
    """Descend from the whole model into the first module that differs, as long as there is one.

    What is found differs, and so does nothing that modules in front of it, or inside it, return.
    """
    first: ModuleRow | None = None
    levels: list[tuple[ModuleRow, ...]] = []
    while inside := children.get(first.module if first else "", ()):
        levels.append(tuple(compare(inside)))
        wrong = next((row for row in levels[-1] if not row.figures.agrees), None)
        if wrong is None:
            break
        first = wrong
    return ModulePath(first, tuple(levels))


def module_rows(
    file: Path, recording: Recording, modules: Mapping[str, str], tolerance: float, scratch: Path
) -> list[ModuleRow]:
    """Return the marked tensors of an exported model, beside those of PyTorch, as rows.

    `modules` names the module of each mark. Tensors whose rows are chosen among candidates are left
    out: rounding orders them. `scratch` is an empty folder.
    """
    model = read_model(file)
    observed = Observed.of(file, model)
    wholes = observed.runs([sample.inputs for sample in recording.samples], scratch)
    marked = {str(each.reference): each for each in marks_of(model).tensors}
    rows = []
    for name in recording.samples[0].marks:
        if name in observed.marks and name not in observed.chosen:
            pairs = [
                (whole.marks[name], sample.marks[name])
                for whole, sample in zip(wholes, recording.samples, strict=True)
            ]
            figures = max((_figures(*pair, tolerance) for pair in pairs), key=_badness)
            rows.append(_row(marked[name], modules, figures))
    return rows


def module_lines(
    path: ModulePath, children: Children, model: Model, wrapper: str = ""
) -> Iterator[str]:
    """Yield what was found, the tensor first; `wrapper` is as in `children_of`."""
    count = sum(map(len, path.levels))
    compared = (
        f"{counted(count, 'tensor')} of modules compared in {counted(len(path.levels), 'export')}"
    )
    if path.first is None:
        rows = [row for level in path.levels for row in level]
        worst = max((row.figures for row in rows), key=_badness, default=None)
        yield f"what all modules return agrees with PyTorch, {compared}: at most {worst}"
        return
    first = path.first
    yield (
        f"'{first.tensor}' is the first tensor that differs from PyTorch: {first.operator} node "
        f"'{first.node}' of module '{first.called}', {first.figures}"
    )
    yield f"{compared}, from the outer ones inwards"
    own = _operators(model, first.module, wrapper)
    if children.get(first.module):
        inside = "what the modules inside it return agrees: it is in its own operations"
        yield f"{inside}, {own}"
    else:
        yield f"its operations are {own}"


def _path(node: Node, wrapper: str) -> str:
    path = module_of(node)
    is_inside = bool(wrapper) and f"{path}.".startswith(f"{wrapper}.")
    return path[len(wrapper) + 1 :] if is_inside else path


def _operators(model: Model, module: str, wrapper: str) -> str:
    own = [node.op_type for node in model.graph if _path(node, wrapper) == module]
    return first_of(list(dict.fromkeys(own)), _MOST_LISTED) or "folded into others"


def _row(tensor: MarkedTensor, modules: Mapping[str, str], figures: Figures) -> ModuleRow:
    value, node = tensor.value, tensor.value.producer
    made = (node.name, node.op_type) if isinstance(node, Node) else ("", "input")
    return ModuleRow(modules[tensor.mark], tensor.call, value.name, *made, figures)


def _figures(ours: Array, theirs: Array, tolerance: float) -> Figures:
    if form(ours) != form(theirs):
        return Figures(False, misfit=difference(ours, theirs))
    largest, scale = largest_difference(ours, theirs), magnitude(theirs)
    allowed = tolerance * scale if is_rounded(theirs) else 0.0
    return Figures(largest <= allowed, relative_l2(ours, theirs), largest, scale)


def _badness(figures: Figures) -> tuple[bool, float]:
    return not figures.agrees, figures.largest_difference / (figures.largest_value or 1.0)
