"""Finds where a segment goes wrong in a target, and the least that shows it."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.arrays import Arrays
from partition_core.base.errors import PartitionError
from partition_core.graph.costs import types_of
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.file.value_type import DTYPES
from partition_core.proof.diagnosis.lineage import Lineage, lineage_of
from partition_core.proof.diagnosis.pieces import Source, grown, with_each_producer, without
from partition_core.proof.diagnosis.search import Answer, Asked, Location, first_wrong
from partition_core.proof.diagnosis.trial import Runtime, Trial, tried

CULPRIT = "culprit.onnx"
MOST_NODES = 5
"""The most nodes of the file that shows a difference; more are needed where none of them has it."""
_TWICE = 2
_BEYOND = 24
"""The number of questions that are allowed beyond what two bisections take."""
_NAMES = re.compile(r"'[^']*'|\d+")
_WORDS = 3


@dataclass(frozen=True)
class Probe:
    """A tensor up to which the segment was tried, with its operator."""

    tensor: str
    operator: str
    trial: Trial


@dataclass(frozen=True)
class Culprit:
    """The first wrong tensor, and the least that shows that it is wrong; None if nothing does.

    `region` are the nodes that make it of tensors that agree; `nodes` those in the small file of
    the trial `shown`, in the order of the graph. `agreeing` are the smaller ones that do not show
    it, fed with the true inputs as well: how many nodes, and the tensor's relative L2, None if the
    target does not take them.
    """

    tensor: str
    region: tuple[Node, ...]
    nodes: tuple[Node, ...]
    shown: Trial | None
    agreeing: tuple[tuple[int, float | None], ...]
    is_verified: bool

    @property
    def node(self) -> Node:
        """The node that makes the tensor."""
        return self.region[-1]


@dataclass(frozen=True)
class Diagnosis:
    """What was found of a segment; without a culprit it agrees, or none of its parts is wrong.

    `unexplained` are outputs that are wrong and not computed from the culprit.
    """

    whole: Trial
    culprit: Culprit | None = None
    probes: tuple[Probe, ...] = ()
    unexplained: tuple[str, ...] = ()
    tensors: int = 0

    @property
    def is_wrong(self) -> bool:
        """Whether the segment as a whole fails or differs."""
        return bool(self.whole.failure or self.whole.differing)


@dataclass
class _Search:
    source: Source
    runtime: Runtime
    tolerance: float
    whole: Trial
    lineage: Lineage
    probes: dict[int, Probe] = field(default_factory=dict)

    def ask(self, index: int) -> Answer:
        """Return whether a tensor is wrong in the segment that ends there."""
        value = self.lineage.values[index]
        with tempfile.TemporaryDirectory(dir=self.source.scratch) as folder:
            try:
                trial = self.tried(*self.source.prefix(value, Path(folder)), Path(folder))
            except PartitionError as error:  # it has no type, or onnxruntime cannot run it
                trial = Trial(failure=str(error))
        bare = replace(trial, files=(), inputs={}, expected={})
        self.probes[index] = Probe(value.name, self.lineage.node(index).op_type, bare)
        return self.answer(trial, value.name)

    def tried(self, file: Path, inputs: Arrays, folder: Path) -> Trial:
        """Return the trial of a file, which is run unless the segment cannot be converted."""
        runs = self.whole.is_converted
        return tried(file, self.runtime, [inputs], self.tolerance, folder, runs=runs)

    def answer(self, trial: Trial, tensor: str) -> Answer:
        """Return whether a trial is wrong as that of the whole segment is."""
        if not self.whole.failure:
            if trial.failure:
                return Answer.UNKNOWN
            return Answer.RIGHT if trial.figures[tensor].agrees else Answer.WRONG
        if not trial.failure:
            return Answer.RIGHT
        is_later = trial.is_converted and not self.whole.is_converted
        return Answer.RIGHT if is_later else _failed(trial, self.whole)


def diagnosed(
    segment: Path,
    runtime: Runtime,
    samples: Sequence[Arrays],
    tolerance: float,
    folder: Path,
) -> Diagnosis:
    """Return where the segment goes wrong in `runtime` on the first sample that shows it.

    `samples` are its inputs by name. What is made is in `folder`. Raises PartitionError if
    onnxruntime cannot run the segment.
    """
    with tempfile.TemporaryDirectory(dir=folder) as place:
        whole = tried(segment, runtime, samples, tolerance, Path(place), runs=True)
    if not whole.failure and not whole.differing:
        return Diagnosis(whole)
    source = Source(segment, dict(whole.inputs or samples[0]), folder)
    lineage = lineage_of(source.model.graph, _comparable(source.model, runtime))
    search = _Search(source, runtime, tolerance, whole, lineage)
    return _located(search)


def _located(search: _Search) -> Diagnosis:
    lineage, whole = search.lineage, search.whole
    budget = _TWICE * len(lineage.values).bit_length() + _BEYOND
    ask = Asked(search.ask, budget + len(search.source.model.graph.outputs))
    wrong = next((index for index in _outputs(search) if ask(index) is Answer.WRONG), None)
    location = None if wrong is None else first_wrong(lineage, wrong, ask)
    probes = tuple(search.probes[index] for index in sorted(search.probes))
    if location is None:
        return Diagnosis(whole, None, probes, tensors=len(lineage.values))
    region, _ = lineage.region(location.index, ask.unknown)
    culprit = _shrunk(search, location, region)
    unexplained = [
        lineage.values[index].name
        for index in _outputs(search)
        if not lineage.ancestors[index] >> location.index & 1
    ]
    return Diagnosis(whole, culprit, probes, tuple(unexplained), len(lineage.values))


def _outputs(search: _Search) -> list[int]:
    """Return the outputs that are wrong in the whole segment, or all if it fails."""
    given = search.source.model.graph.outputs
    wrong = set(search.whole.differing) if not search.whole.failure else {v.name for v in given}
    return [i for i, v in enumerate(search.lineage.values) if v in given and v.name in wrong]


def _comparable(model: Model, runtime: Runtime) -> Callable[[Value], bool]:
    """Return whether a value is an output, or a tensor of a known type that the runtime gives."""
    type_in, given = types_of(model), set(model.graph.outputs)

    def can_compare(value: Value) -> bool:
        if value in given:
            return True
        kind = type_in(value)
        if kind is None or kind.composed or kind.dims is None or kind.dtype not in DTYPES:
            return False
        return runtime.can_give(DTYPES[kind.dtype], len(kind.dims))

    return can_compare


def _shrunk(search: _Search, location: Location, region: tuple[Node, ...]) -> Culprit:
    """Return the culprit with the fewest nodes that show it, grown backwards as far as needed."""
    end = search.lineage.values[location.index]
    agreeing: list[tuple[int, float | None]] = []
    for nodes in _groups(search.source, region):
        trial = _piece(search, nodes, end)
        if isinstance(trial, Trial):
            shown = _reduced(search, nodes, trial, end)
            return Culprit(end.name, region, *shown, tuple(agreeing), location.is_verified)
        agreeing.append((len(nodes), trial))
    return Culprit(end.name, region, region, None, tuple(agreeing), location.is_verified)


def _groups(source: Source, region: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    """Yield the nodes to try, region first, each group once.

    Behind those of up to `MOST_NODES` come the region with each single producer, then groups of
    twice as many again and again, and at last all that the tensor is computed from.
    """
    chain = list(grown(source, region))
    small = [nodes for nodes in chain if len(nodes) <= MOST_NODES]
    pairs = with_each_producer(source, region) if len(region) < MOST_NODES else ()
    large, size = [], _TWICE * max(MOST_NODES, len(region))
    while size < len(chain[-1]):
        large.append(next(nodes for nodes in chain if len(nodes) >= size))
        size *= _TWICE
    yield from dict.fromkeys([region, *small, *pairs, *large, chain[-1]])


def _piece(search: _Search, nodes: tuple[Node, ...], end: Value) -> Trial | float | None:
    """Return the trial of some nodes alone if it is wrong as the segment is; its files remain.

    Otherwise the tensor's relative L2, or None if it was not compared.
    """
    relative_l2 = None
    folder = Path(tempfile.mkdtemp(dir=search.source.scratch))
    with contextlib.suppress(PartitionError):
        file, inputs = search.source.piece(nodes, end, folder / CULPRIT)
        trial = search.tried(file, inputs, folder)
        if search.answer(trial, end.name) is Answer.WRONG:
            expected = trial.expected or Plain(CULPRIT).load(file)(inputs)
            return replace(trial, files=(file, *trial.files), inputs=inputs, expected=expected)
        figures = trial.figures.get(end.name)
        relative_l2 = figures.relative_l2 if figures else None
    shutil.rmtree(folder)
    return relative_l2


def _reduced(
    search: _Search, nodes: tuple[Node, ...], trial: Trial, end: Value
) -> tuple[tuple[Node, ...], Trial]:
    """Return the nodes without those that are not needed to show it, and the trial of the rest."""
    if len(nodes) > MOST_NODES:
        return nodes, trial
    for node in nodes[:-1]:
        fewer = without(nodes, node) if node in nodes else nodes
        smaller = _piece(search, fewer, end) if len(fewer) < len(nodes) else None
        if isinstance(smaller, Trial):
            nodes, trial = fewer, smaller
    return nodes, trial


def _failed(trial: Trial, whole: Trial) -> Answer:
    """Return whether a trial fails as the whole segment does, and not for a reason of its own."""
    same = _kind(trial.failure) == _kind(whole.failure)
    return Answer.WRONG if same else Answer.UNKNOWN


def _kind(failure: str) -> list[str]:
    """Return the first words behind the place of a failure, without names and numbers."""
    return _NAMES.sub("", failure).partition(": ")[2].split()[:_WORDS]
