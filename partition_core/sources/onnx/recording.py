"""Records what an original ONNX file computes; models built from it must reproduce that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from partition_core.backends.backend import Runner
from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.arrays import Arrays
from partition_core.base.child_process import DiedError, RaisedError, run_in_child
from partition_core.base.disk import link_or_copy
from partition_core.base.errors import ProofError, problem
from partition_core.base.recording import RecordedSample, Recording
from partition_core.graph.external import locations
from partition_core.graph.file.graph import Model
from partition_core.graph.inference import crash_problem
from partition_core.graph.mark_nodes import mark_definitions, mark_functions
from partition_core.graph.more_outputs import with_outputs
from partition_core.proof.comparison import change, is_numeric, same_bits
from partition_core.proof.random_operators import SEEDS, RandomOperator, random_operators
from partition_core.proof.runnable import Runnable, runnable

_Runs = list[Arrays]
_Changes = dict[str, float]


@dataclass(frozen=True)
class Original:
    """A given file, or the part of it that can be run: its path, its graph, an empty folder, and
    the folder of its external data."""

    source: Path
    model: Model
    scratch: Path
    data: Path

    @functools.cached_property
    def operators(self) -> Sequence[RandomOperator]:
        """The operators that draw random numbers."""
        return random_operators(self.model)

    def runs(
        self, samples: Sequence[Arrays], added: Sequence[str] = (), seed: int = SEEDS[0]
    ) -> _Runs:
        """Return the outputs for each sample, with the tensors `added` as outputs too."""
        # The session ends with this call, so that a large model is in memory once.
        run = self.session(added, seed)
        return [run(sample) for sample in samples]

    def session(self, added: Sequence[str] = (), seed: int = SEEDS[0]) -> Runner:
        """Return the loaded file, with the tensors `added` as outputs too."""
        file = self.source
        if added or mark_functions(self.model):
            file = with_outputs(file, added, self.scratch / "extended.onnx")
            with file.open("ab") as stream:
                stream.write(mark_definitions(self.model))
        is_elsewhere = file.parent != self.data and locations(self.model)
        data = self.data if is_elsewhere else None
        return Plain(self.source.name, seed, bool(self.operators), data).load(file)


def runnable_part(whole: Original) -> Original:
    """Return the part of a given file that onnxruntime has all operators for."""

    def load(part: Runnable) -> object:
        return replace(whole, source=part.file, model=part.model).session()

    part = runnable(Runnable(whole.source, whole.model), load, whole.scratch)
    return replace(whole, source=part.file, model=part.model)


def recording_of(
    original: Original,
    marks: Mapping[str, str],
    samples: Sequence[Arrays],
    kinds: Sequence[str],
) -> Recording:
    """Return the outputs of a given file for `samples`.

    `marks` maps references to tensors; tensors that are not numeric are left out. `kinds` has that
    of each sample (`RecordedSample`).

    The outputs come from the unchanged file. For the marked tensors it runs again with these as
    additional outputs, which may change onnxruntime's rounding. Mark nodes without a function get
    one. Raises ProofError if onnxruntime cannot run it.
    """
    model = original.model
    outputs = [value.name for value in model.graph.outputs]
    inner = {value.name for node in model.graph for value in node.outputs}
    wanted = {name: tensor for name, tensor in marks.items() if tensor in inner}
    plain = original.runs(samples)
    _check_comparable(plain[0], outputs)
    extended, changes = _observed(original, samples, list(wanted.values()), plain)
    recorded = [
        RecordedSample(
            _numeric(sample),
            _numeric({name: tensors[tensor] for name, tensor in wanted.items()}),
            _numeric({name: untouched[name] for name in outputs}),
            {name: change[tensor] for name, tensor in wanted.items() if tensor in change},
            {name: change[name] for name in outputs if name in change},
            kind,
        )
        for sample, kind, untouched, tensors, change in zip(
            samples, kinds, plain, extended, changes, strict=True
        )
    ]
    return Recording(tuple(recorded), is_traced=False)


def _numeric(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if is_numeric(array)}


def without_links(source: Path, model: Model, scratch: Path) -> Path:
    """Return the path of the file `source` in a folder that contains all its external data.

    onnxruntime follows no link out of the model's folder, and caches contain such links.
    """
    folder = source.parent.resolve()
    files = {location: (source.parent / location).resolve() for location in locations(model)}
    if all(path.is_relative_to(folder) for path in files.values()):
        return source
    copy = scratch / "copy" / source.name
    targets = {copy.parent / location: path for location, path in files.items()}
    for target, path in {copy: source.resolve(), **targets}.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(path, target)
    return copy


def check_runs(original: Original, sample: Arrays) -> None:
    """Raise ProofError if a file crashes a process that runs it with onnxruntime.

    Other errors are reported by the run proper.
    """

    def run() -> bytes:
        original.runs((sample,))
        return b""

    try:
        run_in_child(run)
    except RaisedError:
        pass
    except DiedError as error:
        raise ProofError(
            crash_problem(original.source.name, "a run in onnxruntime", error)
        ) from error


def check_batch(original: Original, batch: int, sample: Arrays) -> None:
    """Raise ProofError if onnxruntime does not run a file on a `sample` of `batch`."""
    try:
        check_runs(original, sample)
        original.runs((sample,))
    except ProofError as error:
        reason = error.problems[0]
        raise ProofError.at(
            "",
            f"dim 0 of its inputs is open, and it does not run with a batch of {batch}",
            f"{reason.what}; {reason.expected}" if reason.expected else reason.what,
            "name the batches that it runs with, such as `proof: {batches: [1]}`",
        ) from error


def runs_on(original: Original) -> Callable[[Arrays], bool]:
    """Return a function that checks whether onnxruntime runs a file on a sample."""

    @functools.cache
    def session() -> Runner:
        return original.session()

    def runs(sample: Arrays) -> bool:
        try:
            session()(sample)
        except ProofError:
            return False
        return True

    return runs


def _observed(
    original: Original, samples: Sequence[Arrays], tensors: Sequence[str], plain: _Runs
) -> tuple[_Runs, list[_Changes]]:
    """Return the file's outputs with `tensors` among them, and what varies from run to run.

    The latter is, for each sample, the largest difference of each tensor by name.
    """
    can_draw = any(not operator.seeded for operator in original.operators)
    added = [name for name in dict.fromkeys(tensors) if name not in plain[0]]
    first, *others = SEEDS
    rerun = original.runs(samples, added, others[0])
    if not can_draw and all(_same(run, other) for run, other in zip(plain, rerun, strict=True)):
        return rerun, [{} for _ in rerun]
    # Only runs of the same bytes show what varies: more outputs may change the rounding.
    reference = original.runs(samples, added, first)
    changes: list[_Changes] = [{} for _ in reference]
    for number, seed in enumerate(others if can_draw else others[:1]):
        runs = rerun if number == 0 else original.runs(samples, added, seed)
        for sample, (outputs, other) in enumerate(zip(reference, runs, strict=True)):
            for name, difference in _changed(outputs, other):
                changes[sample][name] = max(difference, changes[sample].get(name, 0.0))
    return reference, changes


def _same(outputs: Arrays, others: Arrays) -> bool:
    return all(same_bits(array, others[name]) for name, array in outputs.items())


def _changed(outputs: Arrays, other: Arrays) -> Iterator[tuple[str, float]]:
    for name, array in outputs.items():
        if is_numeric(array) and not same_bits(array, other[name]):
            yield name, change(array, other[name])


def _check_comparable(arrays: Arrays, outputs: Sequence[str]) -> None:
    ProofError.refuse(
        problem(
            f"output '{name}'",
            "it is not a numeric tensor, and only those can be compared",
            "expected a tensor of floats, integers or booleans",
            "cut a part of the model that has such outputs into a file of its own",
        )
        for name in outputs
        if not is_numeric(arrays[name])
    )
