"""Compares a segment with a file that replaces it: the first tensor of one name that differs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.arrays import Arrays
from partition_core.base.errors import BuildError, problem
from partition_core.graph.external import locations
from partition_core.graph.file.graph import Model, Node
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.marks import live_nodes
from partition_core.graph.model_inputs import inputs_of
from partition_core.graph.more_outputs import with_outputs
from partition_core.proof.diagnosis.trial import Figures, compared

_AT_ONCE = 32
"""How many inner tensors are in memory at once."""


@dataclass(frozen=True)
class Row:
    """A tensor of both files with its operator in the segment."""

    tensor: str
    node: str
    operator: str
    figures: Figures


@dataclass(frozen=True)
class Replacement:
    """The outputs of both files, and if these differ the inner tensors up to the first that does.

    `shared` counts the inner tensors that both files have.
    """

    outputs: tuple[Row, ...]
    inner: tuple[Row, ...] = ()
    shared: int = 0

    @property
    def first(self) -> Row | None:
        """The first tensor that differs."""
        rows = (*self.inner, *self.outputs)
        return next((row for row in rows if not row.figures.agrees), None)


def replacement(
    segment: Path, other: Path, sample: Sequence[Arrays], tolerance: float, scratch: Path
) -> Replacement:
    """Compare `other` with `segment` on each sample, a tensor's figures are its worst.

    Inputs and outputs are those of the same position. Raises BuildError if their numbers differ,
    and ProofError if one cannot be run.
    """
    ours, theirs = _Side(segment, scratch / "segment.onnx"), _Side(other, scratch / "other.onnx")
    _check_ends(ours.model, theirs.model, other)
    renamed = dict(zip(inputs_of(ours.model), inputs_of(theirs.model), strict=True))
    fed = [{renamed[name]: array for name, array in arrays.items()} for arrays in sample]
    ends = list(zip(ours.outputs, theirs.outputs, strict=True))

    def rows(pairs: Sequence[tuple[str, str]]) -> Iterator[Row]:
        expected = ours.run([name for name, _ in pairs], sample)
        given = theirs.run([name for _, name in pairs], fed)
        for name, name_there in pairs:
            figures = [
                compared({name: there[name_there]}, here, name, tolerance)
                for here, there in zip(expected, given, strict=True)
            ]
            yield _row(ours.model, name, max(figures, key=_badness))

    outputs = tuple(rows(ends))
    if all(row.figures.agrees for row in outputs):
        return Replacement(outputs)
    shared = [name for name in ours.inner if name in set(theirs.inner)]
    inner: list[Row] = []
    for start in range(0, len(shared), _AT_ONCE):
        inner += rows([(name, name) for name in shared[start : start + _AT_ONCE]])
        if not all(row.figures.agrees for row in inner):
            break
    wrong = next((i for i, row in enumerate(inner) if not row.figures.agrees), len(inner))
    return Replacement(outputs, tuple(inner[: wrong + 1]), len(shared))


@dataclass
class _Side:
    """A file, its tensors, and a path for copies with more outputs."""

    file: Path
    copy: Path
    model: Model = field(init=False)

    def __post_init__(self) -> None:
        self.model = read_model(self.file)

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self.model.graph.outputs]

    @functools.cached_property
    def inner(self) -> dict[str, Node]:
        """The nodes of the inner tensors, by their names, in order."""
        made = {v.name: node for node in live_nodes(self.model.graph) for v in node.outputs}
        return {name: node for name, node in made.items() if name and name not in self.outputs}

    def run(self, names: Sequence[str], samples: Sequence[Arrays]) -> list[Arrays]:
        """Return tensors for each sample; raises ProofError."""
        beside = self.file.parent if locations(self.model) else None
        more = [name for name in names if name not in self.outputs]
        run = Plain(self.file.name, data=beside).load(with_outputs(self.file, more, self.copy))
        return [{name: given[name] for name in names} for given in map(run, samples)]


def _row(model: Model, name: str, figures: Figures) -> Row:
    made = {value.name: node for node in model.graph for value in node.outputs}
    node = made.get(name)
    return Row(name, node.name if node else "", node.op_type if node else "", figures)


def _badness(figures: Figures) -> tuple[bool, float]:
    return not figures.agrees, figures.relative_l2


def _check_ends(ours: Model, theirs: Model, other: Path) -> None:
    sides = {
        "inputs": (inputs_of(ours), inputs_of(theirs)),
        "outputs": (ours.graph.outputs, theirs.graph.outputs),
    }
    BuildError.refuse(
        problem(f"with={other.name}", f"it has {len(there)} {side}", f"expected {len(here)}")
        for side, (here, there) in sides.items()
        if len(here) != len(there)
    )
