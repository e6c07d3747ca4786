"""Runs the segments of a partition in order, along their edges, and compares them with end2end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from partition_core.backends.backend import Agreement, Backend
from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.arrays import Array, Arrays
from partition_core.base.errors import CutError, Problem, ProofError, problem
from partition_core.chain.pieces import Chain, SegmentBoundary, Tensor
from partition_core.chain.run import add, feeds_of, initial_values, walk
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.proof.comparison import agrees, difference, same_bits, same_kind
from partition_core.proof.observed import Whole
from partition_core.proof.random_operators import (
    NOT_DETERMINISTIC,
    SEEDS,
    RandomOperator,
    draw_random_numbers,
    random_operators,
    unseeded,
)

BackendOf = Callable[[str, int, bool], Backend]
"""The backend of a segment, by its file's name, a seed, and whether it draws random numbers."""


@dataclass(frozen=True)
class Unproven:
    """An output of a segment that differs between runs, and the random operators behind it."""

    segment: str
    output: str
    reference: str
    operators: tuple[str, ...]


@dataclass
class ChainRun:
    """The result of running the segments.

    `problems` are those of the first segment that differs from end2end. `unproven` are outputs
    that could not be compared, since they are random; an input that needs one of them is in
    `recorded`, as `segment: input`, and was taken from end2end. `moves` is whether an output that
    equals end2end's bit for bit differs for the second sample. `static` has the number of samples
    of each segment that ran on those of its sizes alone.
    """

    problems: list[Problem] = field(default_factory=list)
    unproven: list[Unproven] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    moves: bool = False
    static: dict[str, int] = field(default_factory=dict)


def run_chain(
    chain: Chain,
    wholes: Sequence[Whole],
    inputs: Sequence[Arrays],
    random: frozenset[str],
    remedy: Callable[[], str],
    scratch: Path,
    backend_of: BackendOf = Plain,
    static: Collection[str] = (),
) -> ChainRun:
    """Run the segments in order and compare their outputs with end2end, as their backend agrees.

    `wholes` are the results of end2end for the samples `inputs`. An input that no segment outputs
    (a gap of the recipe), or only a random one, comes from there. `random` are the references of
    the tensors that may differ between runs, and `remedy` returns what to do about any other
    difference. One segment at a time is in memory; `scratch` is a folder for converted ones. A
    segment in `static` runs on the samples of its sizes; else its outputs come from end2end.
    """
    run, feeds, made = ChainRun(), feeds_of(chain.edges), initial_values(inputs)

    def recorded(number: int, tensor: Tensor) -> Array:
        return wholes[number].marks[tensor.reference]

    for boundary, fed in walk(chain.boundaries, feeds, made, recorded):
        file = boundary.save_file
        run.recorded += [
            f"{file}: {name}"
            for name, source in feeds.get(file, {}).items()
            if source not in made[0]
        ]
        fitting: Sequence[int] = range(len(fed))
        if file in static:
            fitting = [number for number in fitting if boundary.takes(fed[number])]
            run.static[file] = len(fitting)
        if not fitting:
            run.problems.append(_without_sample(boundary, fed))
            return run
        ours, own = [wholes[number] for number in fitting], [fed[number] for number in fitting]
        segment = _Segment.of(chain.files[file], boundary, own, scratch, backend_of)
        results = segment.runs()
        unequal = segment.unequal(results, ours)
        varying = segment.varying(results, unequal)
        drawn = {t: names for t, names in varying.items() if names and t.reference in random}
        run.problems += segment.unstable({t: n for t, n in varying.items() if t not in drawn})
        unequal -= varying.keys()
        run.problems += segment.different(results, ours, unequal, remedy)
        run.problems += segment.mismatched(results, ours, drawn)
        if run.problems:
            return run
        run.unproven += [
            Unproven(file, tensor.name, tensor.reference, drawn[tensor])
            for tensor in boundary.outputs
            if tensor in drawn
        ]
        proven = [tensor.name for tensor in boundary.outputs if tensor not in drawn]
        run.moves = run.moves or any(_moves(results, name) for name in proven)
        known = dict(zip(fitting, results, strict=True))
        outputs = [
            known.get(number) or {t.name: recorded(number, t) for t in boundary.outputs}
            for number in range(len(wholes))
        ]
        add(made, boundary, [{name: arrays[name] for name in proven} for arrays in outputs])
    return run


def _without_sample(boundary: SegmentBoundary, fed: Sequence[Arrays]) -> Problem:
    shapes = {tensor.name: list(tensor.dims) for tensor in boundary.inputs}
    seen = dict.fromkeys(str([list(arrays[name].shape) for name in shapes]) for arrays in fed)
    what = f"no sample has the sizes {list(shapes.values())} of {', '.join(shapes)}"
    return problem(
        f"segment '{boundary.save_file}'",
        what,
        f"in the samples they are {' or '.join(seen)}",
        "write shapes under 'export.inputs' that give these sizes",
    )


@dataclass(frozen=True)
class _Segment:
    """A segment, its inputs for each sample, and its backend."""

    files: Sequence[Path]
    boundary: SegmentBoundary
    model: Model
    operators: tuple[RandomOperator, ...]
    fed: Sequence[Arrays]
    backend_of: BackendOf
    agreement: Agreement

    @classmethod
    def of(
        cls,
        file: Path,
        boundary: SegmentBoundary,
        fed: Sequence[Arrays],
        scratch: Path,
        backend_of: BackendOf,
    ) -> _Segment:
        backend = backend_of(boundary.save_file, SEEDS[0], False)
        files = backend.convert(file, scratch).files
        try:
            model = read_model(file)
        except CutError as error:
            backend.load(*files)  # the backend's own message takes precedence
            raise ProofError(*error.problems) from error
        operators, agreement = random_operators(model), backend.agreement()
        return cls(files, boundary, model, operators, fed, backend_of, agreement)

    def runs(self, seed: int = SEEDS[0]) -> list[dict[str, Array]]:
        backend = self.backend_of(self.boundary.save_file, seed, bool(self.operators))
        run = backend.load(*self.files)
        return [run(sample) for sample in self.fed]

    def varying(
        self, results: Sequence[Arrays], unequal: Collection[Tensor]
    ) -> dict[Tensor, tuple[str, ...]]:
        """Return the outputs that another run changes, and the random operators behind them.

        Checked are those that random operators reach, even if they drew the same numbers as in
        end2end, and those that are `unequal` to it. `results` are the outputs of the first run.
        """
        values = {value.name: value for value in self.model.graph.outputs}
        operators = {
            tensor: tuple(unseeded(self.model, self.operators, [values[tensor.name]]))
            for tensor in self.boundary.outputs
        }
        suspects = {t for t, names in operators.items() if names or t in unequal}
        able = {tensor for tensor in suspects if operators[tensor]}
        changed: set[Tensor] = set()
        for seed in (SEEDS[1:] if able else SEEDS[1:2]) if suspects else ():
            again = self.runs(seed)
            changed |= {t for t in suspects if not _all_same(t.name, results, again)}
            if able <= changed:
                break
        return {t: names for t, names in operators.items() if t in changed}

    def unequal(self, results: Sequence[Arrays], wholes: Sequence[Whole]) -> set[Tensor]:
        """Return the outputs that differ from those of end2end in a sample."""
        pairs = list(zip(results, wholes, strict=True))
        outputs = self.boundary.outputs
        return {t for t in outputs if not all(self._agrees(t, *pair) for pair in pairs)}

    def different(
        self,
        results: Sequence[Arrays],
        wholes: Sequence[Whole],
        unequal: Collection[Tensor],
        remedy: Callable[[], str],
    ) -> Iterator[Problem]:
        """Yield a problem for each sample in which an output that is `unequal` differs."""
        for number, (outputs, whole) in enumerate(zip(results, wholes, strict=True)):
            for tensor in self.boundary.outputs:
                if tensor in unequal and not self._agrees(tensor, outputs, whole):
                    what = f"is not what end2end computes for sample {number}"
                    differs = difference(outputs[tensor.name], whole.marks[tensor.reference])
                    expected = f"expected '{tensor.reference}' {self.agreement}; {differs}"
                    yield self._problem(tensor, what, expected, remedy())

    def unstable(self, tensors: Mapping[Tensor, Sequence[str]]) -> Iterator[Problem]:
        """Yield a problem for each output that differs between runs by these operators."""
        for tensor, names in tensors.items():
            drawing = f"{draw_random_numbers(names)}, but the tensor must be the same in each run"
            why = drawing if names else NOT_DETERMINISTIC
            yield self._problem(tensor, "differs between runs", why)

    def mismatched(
        self, results: Sequence[Arrays], wholes: Sequence[Whole], drawn: Collection[Tensor]
    ) -> Iterator[Problem]:
        """Yield a problem for random outputs whose dtype or rank differs from end2end."""
        for outputs, whole in zip(results, wholes, strict=True):
            for tensor in drawn:
                ours, theirs = outputs[tensor.name], whole.marks[tensor.reference]
                if not same_kind(ours, theirs):
                    what = "has another dtype or rank than in end2end"
                    yield self._problem(tensor, what, difference(ours, theirs))

    def _agrees(self, tensor: Tensor, outputs: Arrays, whole: Whole) -> bool:
        ours, theirs = outputs[tensor.name], whole.marks[tensor.reference]
        return agrees(ours, theirs, self.agreement.relative_l2)

    def _problem(self, tensor: Tensor, what: str, expected: str, remedy: str = "") -> Problem:
        where = f"segment '{self.boundary.save_file}'"
        return problem(where, f"its output '{tensor.name}' {what}", expected, remedy)


def _all_same(name: str, runs: Sequence[Arrays], others: Sequence[Arrays]) -> bool:
    return all(same_bits(run[name], other[name]) for run, other in zip(runs, others, strict=True))


def _moves(results: Sequence[Arrays], name: str) -> bool:
    return len(results) > 1 and not same_bits(results[0][name], results[1][name])
