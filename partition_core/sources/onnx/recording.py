"""What an ONNX file computes, as it was given: the recording that what is made of it must equal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

_Runs = list[Arrays]
_Changes = dict[str, float]


def recording_of(
    source: Path,
    model: Model,
    marks: Mapping[str, str],
    samples: Sequence[Arrays],
    scratch: Path,
) -> Recording:
    """Return what the file `source`, whose graph is `model`, gives for `samples`.

    `marks` maps references to tensors; what has no numbers is left out.

    The outputs are those of the bytes of the file as they are. For the marked tensors they run
    again with the names of these joined to them as outputs, which may change what onnxruntime
    rounds. A function for Mark nodes is joined where they have none. `scratch` is an empty folder.
    Raises ProofError if onnxruntime cannot run it.
    """
    outputs = [value.name for value in model.graph.outputs]
    inner = {value.name for node in model.graph for value in node.outputs}
    wanted = {name: tensor for name, tensor in marks.items() if tensor in inner}
    given = _Given(source, model, random_operators(model), samples, scratch)
    plain = given.runs(())
    _check_comparable(plain[0], outputs)
    seen, changes = _observed(given, list(wanted.values()), plain)
    recorded = [
        RecordedSample(
            _numeric(sample),
            _numeric({name: tensors[tensor] for name, tensor in wanted.items()}),
            _numeric({name: untouched[name] for name in outputs}),
            {name: apart[tensor] for name, tensor in wanted.items() if tensor in apart},
            {name: apart[name] for name in outputs if name in apart},
        )
        for sample, untouched, tensors, apart in zip(samples, plain, seen, changes, strict=True)
    ]
    return Recording(tuple(recorded), is_traced=False)


def _numeric(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if is_numeric(array)}


def without_links(source: Path, model: Model, scratch: Path) -> Path:
    """Return the path of the file `source` in a folder that holds all its external data itself.

    onnxruntime follows no link out of the model's folder, as those of a cache are.
    """
    folder = source.parent.resolve()
    files = {location: (source.parent / location).resolve() for location in locations(model)}
    if all(path.is_relative_to(folder) for path in files.values()):
        return source
    given = scratch / "given" / source.name
    for target, path in {given: source.resolve(), **_below(given.parent, files)}.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(path, target)
    return given


def _below(folder: Path, files: Mapping[str, Path]) -> dict[Path, Path]:
    return {folder / location: path for location, path in files.items()}


def check_runs(source: Path, model: Model, sample: Arrays, scratch: Path) -> None:
    """Raise ProofError if the file `source` ends a process that runs it with onnxruntime.

    Whatever else is wrong with it is told where it is run.
    """
    given = _Given(source, model, random_operators(model), (sample,), scratch)

    def run() -> bytes:
        given.runs(())
        return b""

    try:
        run_in_child(run)
    except RaisedError:
        pass
    except DiedError as error:
        raise ProofError(crash_problem(source.name, "a run in onnxruntime", error)) from error


def runs_on(source: Path, model: Model, scratch: Path) -> Callable[[Arrays], bool]:
    """Return a function that tells whether onnxruntime runs the file `source` on a sample."""

    @functools.cache
    def session() -> Runner:
        return _Given(source, model, random_operators(model), (), scratch).session((), SEEDS[0])

    def runs(sample: Arrays) -> bool:
        try:
            session()(sample)
        except ProofError:
            return False
        return True

    return runs


@dataclass(frozen=True)
class _Given:
    source: Path
    model: Model
    operators: Sequence[RandomOperator]
    samples: Sequence[Arrays]
    scratch: Path

    def runs(self, added: Sequence[str], seed: int = SEEDS[0]) -> _Runs:
        """Return what the file gives for each sample, with the tensors `added` as outputs too."""
        # The session ends with this call: a large model is in memory once.
        run = self.session(added, seed)
        return [run(sample) for sample in self.samples]

    def session(self, added: Sequence[str], seed: int) -> Runner:
        file = self.source
        if added or mark_functions(self.model):
            file = with_outputs(file, added, self.scratch / "given.onnx")
            with file.open("ab") as stream:
                stream.write(mark_definitions(self.model))
        data = self.source.parent if file != self.source and locations(self.model) else None
        return Plain(self.source.name, seed, bool(self.operators), data).load(file)


def _observed(given: _Given, tensors: Sequence[str], plain: _Runs) -> tuple[_Runs, list[_Changes]]:
    """Return what the file gives with `tensors` as outputs, and what varies from run to run.

    What varies is, for each sample, the largest difference of a tensor by its name.
    """
    can_draw = any(not operator.seeded for operator in given.operators)
    added = [name for name in dict.fromkeys(tensors) if name not in plain[0]]
    first, *others = SEEDS
    again = given.runs(added, others[0])
    if not can_draw and all(_same(one, other) for one, other in zip(plain, again, strict=True)):
        return again, [{} for _ in again]
    # Only runs of the same bytes tell what varies: more outputs may change what is rounded.
    seen = given.runs(added, first)
    changes: list[_Changes] = [{} for _ in seen]
    for number, seed in enumerate(others if can_draw else others[:1]):
        runs = again if number == 0 else given.runs(added, seed)
        for sample, (one, other) in enumerate(zip(seen, runs, strict=True)):
            for name, apart in _changed(one, other):
                changes[sample][name] = max(apart, changes[sample].get(name, 0.0))
    return seen, changes


def _same(outputs: Arrays, others: Arrays) -> bool:
    return all(same_bits(array, others[name]) for name, array in outputs.items())


def _changed(one: Arrays, other: Arrays) -> Iterator[tuple[str, float]]:
    for name, array in one.items():
        if is_numeric(array) and not same_bits(array, other[name]):
            yield name, change(array, other[name])


def _check_comparable(given: Arrays, outputs: Sequence[str]) -> None:
    problems = [
        problem(
            f"output '{name}'",
            "it is no tensor of numbers, and only those can be compared",
            "expected a tensor of floats, integers or booleans",
            "cut a part of the model that has such outputs into a file of its own",
        )
        for name in outputs
        if not is_numeric(given[name])
    ]
    if problems:
        raise ProofError(*problems)
