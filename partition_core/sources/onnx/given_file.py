"""The export step of a recipe whose model is an ONNX file: it gets the recipe's marks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.errors import BuildError, CutError, Problem, ProofError, problem
from partition_core.base.folders import END2END, RECORDING
from partition_core.graph.external import check_external_data, locations
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.file.graph_writer import write_model
from partition_core.graph.file.weights import Inline
from partition_core.graph.files import LARGEST, check_model, save
from partition_core.graph.index_reads import index_ranges
from partition_core.graph.inference import read_too_early
from partition_core.graph.mark_nodes import put_marks
from partition_core.graph.marks import MarkedTensor, MarkTable, marks_of
from partition_core.graph.model_inputs import (
    IN_THE_FILE,
    check_inputs,
    drawn_inputs,
    expected_inputs,
    inputs_of,
)
from partition_core.graph.named_tensors import NamedTensor, marks_by_name, tensor_names
from partition_core.graph.operators import check_functions
from partition_core.graph.scope import scope_of
from partition_core.graph.stored_models import EXPORT_FORMS, take, weights_file
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.input_forms import ALL_FIXED
from partition_core.recipe.mark_reference import MarkReference, Side
from partition_core.recipe.places import in_recipe
from partition_core.recipe.values import (
    ONE_LINE,
    FileInput,
    OnnxModel,
    Recipe,
    TensorName,
    WeightsForm,
)
from partition_core.sources.job import Job
from partition_core.sources.pinned import pinned_by

if TYPE_CHECKING:
    from partition_core.base.index_ranges import Ranges
    from partition_core.base.recording import Recording
    from partition_core.sources.samples import Sample

Phase = Callable[[str], AbstractContextManager[None]]
"""Announces a part of the work that takes long, and afterwards how long it took."""

_SIDES: Mapping[str, tuple[Side, ...]] = {
    "tensors": ("input", "output"),
    "inputs": ("input",),
    "outputs": ("output",),
}
_IN_ONE_LINE = {"inputs": "partition.from", "outputs": "partition.to"}


def external_files(root: Path, file: RecipeFile) -> list[Path]:
    """Return the files with external data of a recipe's ONNX file; none if that has a URL.

    Raises BuildError for a file that is no ONNX, and for external data that is not there.
    """
    pinned = pinned_by(file)
    if pinned is None or pinned.is_url:
        return []
    path = root / pinned.location
    model = _opened(file, path)
    return [path.parent / location for location in locations(model)]


def check_source(job: Job) -> None:
    """Raise PartitionError with what is wrong between a recipe and its ONNX file.

    Nothing is run and nothing is written. A file that has to be fetched is not looked at.
    """
    pinned = pinned_by(job.file)
    if pinned is not None and not pinned.is_url:
        source = _marked_by(job, job.root / pinned.location)
        _samples(job, source.model)


@dataclass(frozen=True)
class MarkedSource:
    """The model of the ONNX file at `path` with Mark nodes, and the notes of its export.

    `recording` is what the file gives as it is.
    """

    path: Path
    model: Model
    recording: Recording
    notes: dict[str, Any]


def mark_source(job: Job, phase: Phase, found: tuple[Path, str] | None) -> MarkedSource:
    """Put Mark nodes into the recipe's ONNX file and run it; raises PartitionError.

    `found` are the file and its digest.
    """
    if found is None:
        raise ValueError("the recipe names no ONNX file")
    path, digest = found
    with phase("read the ONNX file"):
        source = _marked_by(job, path)
        with _about(job.file, path):
            _check_order(source.model, path.name)
            check_functions(source.model)
    with phase("run it as it is"):
        from partition_core.sources.onnx.recording import (
            check_runs,
            recording_of,
            runs_on,
            without_links,
        )
        from partition_core.sources.samples import range_notes, usable_ranges

        samples = _samples(job, source.model)
        with _about(job.file, path), job.store.private_folder() as scratch:
            given = without_links(path, source.model, scratch)
            check_runs(given, source.model, samples[0].arrays(), scratch)
            runs = runs_on(given, source.model, scratch)
            ranges = usable_ranges(_ranges(source.model, samples), samples, runs)
            drawn = [one.ranged(ranges).arrays() for one in samples]
            recording = recording_of(given, source.model, source.marks, drawn, scratch)
    with phase("put the marks in"), _about(job.file, path):
        model = put_marks(source.model, source.added)
        check_model(model, path.name)
    notes = {
        "detects": False,
        "model_sha256": digest,
        "inputs": list(inputs_of(source.model)),
        **range_notes(samples, ranges),
    }
    return MarkedSource(path, model, recording, notes)


def save_marked(job: Job, marked: MarkedSource, folder: Path) -> dict[str, Any]:
    """Write `end2end.onnx` and `recording.npz` to `folder`; return the notes of the export.

    Raises PartitionError, and OSError if the disk refuses.
    """
    from partition_core.base.recording import save_recording

    with _about(job.file, marked.path):
        written = save(marked.model, folder / END2END, EXPORT_FORMS[job.recipe.export.weights])
        take(written, folder, weights_file(job.recipe.export.weights, END2END))
    save_recording(marked.recording, folder / RECORDING)
    return marked.notes


@dataclass(frozen=True)
class _Source:
    # An ONNX file, the tensors that the recipe marks in it, and the tensor of each reference.
    model: Model
    added: tuple[MarkedTensor, ...]
    marks: dict[str, str]


def _marked_by(job: Job, path: Path) -> _Source:
    model = _opened(job.file, path)
    with _about(job.file, path):
        _check_size(model, path.name, job.recipe.export.weights)
        own = marks_of(model).tensors
    with in_recipe(job.file):
        _check_names(job.recipe, own)
        added = marks_by_name(model, _named(job.recipe, model)).tensors
        table = MarkTable((*own, *added))
        _check_segments(job, model, table)
        check_inputs(model, _model(job.recipe).inputs)
    reachable = [tensor for tensor in table.tensors if not tensor.enclosing]
    return _Source(model, added, {str(t.reference): t.seen.name for t in reachable})


def _opened(file: RecipeFile, path: Path) -> Model:
    with _about(file, path):
        model = read_model(path)
        pinned = pinned_by(file)
        if pinned is not None and pinned.is_url and (elsewhere := locations(model)):
            what = f"it has weights in another file, '{elsewhere[0]}', which is not fetched"
            remedy = "put both here and name the path of the model"
            raise CutError(problem(path.name, what, "expected one file", remedy))
        check_external_data(model)
    return model


def _check_size(model: Model, name: str, weights: WeightsForm) -> None:
    if EXPORT_FORMS[weights] != "inline" or not locations(model):
        return
    size = sum(map(len, write_model(model, Inline(model.folder))))
    if size > LARGEST:
        what = f"with its weights inside it has {size} bytes"
        remedy = "write `export: {weights: external}`, or `shared`"
        raise CutError(problem(name, what, f"no ONNX file can have more than {LARGEST}", remedy))


def _check_order(model: Model, name: str) -> None:
    # onnxruntime sorts the nodes; onnx would tell it of the tensors behind the marks.
    if late := read_too_early(model.graph):
        raise CutError(problem(name, late, "", "sort the nodes, as ONNX asks"))


def _check_names(recipe: Recipe, own: tuple[MarkedTensor, ...]) -> None:
    known = {tensor.mark for tensor in own}
    problems = [
        problem(
            f"marks[{index}].name", f"the file has a mark '{mark.name}' already", "", "rename it"
        )
        for index, mark in enumerate(_model(recipe).marks)
        if mark.name in known
    ]
    if problems:
        raise CutError(*problems)


def _named(recipe: Recipe, model: Model) -> list[NamedTensor]:
    is_one_line = recipe.partition.type == ONE_LINE
    entries: list[tuple[str, str, Side, TensorName]] = []
    for index, mark in enumerate(_model(recipe).marks):
        for key, sides in _SIDES.items():
            names: tuple[TensorName, ...] = getattr(mark, key)
            at = _IN_ONE_LINE[key] if is_one_line and names else f"marks[{index}].{key}"
            entries += [
                (f"{at}[{number}]", mark.name, side, name)
                for side in sides
                for number, name in enumerate(names)
            ]
    tensors = tensor_names(model, [(at, name) for at, _, _, name in entries])
    made: list[NamedTensor] = []
    for (at, mark_name, side, name), tensor in zip(entries, tensors, strict=True):
        path = (name.alias or tensor,)
        reference = str(MarkReference(mark_name, side, 0, path))
        label = tensor if is_one_line else reference
        made.append(NamedTensor(mark_name, side, path, tensor, at, label=label))
    _check_different(made)
    return made


def _check_different(tensors: Sequence[NamedTensor]) -> None:
    first: dict[tuple[str, Side, tuple[str, ...]], NamedTensor] = {}
    problems: list[Problem] = []
    for one in tensors:
        other = first.setdefault((one.mark, one.side, one.path), one)
        if other is one:
            continue
        if other.tensor == one.tensor:
            what = f"it is the tensor '{one.tensor}', which {other.at} names already"
            problems.append(problem(one.at, what, "", "list it once"))
        else:
            what = f"'{'.'.join(one.path)}' names the tensor '{other.tensor}' in {other.at} already"
            problems.append(problem(one.at, what, "", "give one of them another name with 'as'"))
    if problems:
        raise CutError(*dict.fromkeys(problems))


def _check_segments(job: Job, model: Model, table: MarkTable) -> None:
    problems: list[Problem] = []
    for index, segment in enumerate(job.recipe.partition.segments):
        try:
            scope_of(model, segment, f"partition.segments[{index}]", table)
        except CutError as error:
            problems.extend(error.problems)
    if problems:
        raise CutError(*problems)


def _samples(job: Job, model: Model) -> list[Sample]:
    from partition_core.sources.samples import Sample, given_arrays, samples_of

    recipe = job.recipe
    entries = _model(recipe).inputs
    with in_recipe(job.file):
        if not recipe.proof.inputs:
            specs = drawn_inputs(model, entries)
            if specs and all(spec.value is not None for spec in specs):
                raise CutError(problem("export.inputs", *ALL_FIXED))
            return samples_of(specs, ())
        files = [job.root / name for name in recipe.proof.inputs]
        given = given_arrays(files, expected_inputs(model), IN_THE_FILE, job.file.place)
        _check_shapes(given, entries)
        return [
            Sample(arrays, tuple(drawn_inputs(model, entries, _shapes(arrays))), number + 1)
            for number, arrays in enumerate(given)
        ]


def _check_shapes(given: Sequence[Mapping[str, Any]], entries: Sequence[FileInput]) -> None:
    asked = {one.name: one.shape for one in entries if one.shape is not None}
    problems = [
        problem(
            f"proof.inputs[{index}]",
            f"input '{name}' is {list(arrays[name].shape)} here",
            f"expected {list(shape)}, as 'export.inputs' says",
            f"give arrays of that shape, or leave the shape of '{name}' out there",
        )
        for index, arrays in enumerate(given)
        for name, shape in asked.items()
        if name in arrays and arrays[name].shape != shape
    ]
    if problems:
        raise CutError(*problems)


def _ranges(model: Model, samples: list[Sample]) -> Ranges:
    from partition_core.sources.samples import undetermined

    if not undetermined(samples):
        return {}
    return index_ranges(model, [_shapes(one.arrays()) for one in samples])


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _model(recipe: Recipe) -> OnnxModel:
    if not isinstance(recipe.model, OnnxModel):
        raise ValueError(f"the model of '{recipe.name}' is no ONNX file")
    return recipe.model


@contextlib.contextmanager
def _about(file: RecipeFile, path: Path) -> Iterator[None]:
    """Give the problems of the ONNX file at `path` the place where the recipe names it."""
    try:
        yield
    except (CutError, ProofError) as error:
        pinned = pinned_by(file)
        at = file.place(pinned.at if pinned is not None else "model")
        # A fetched file has another name here than where it comes from.
        name = Path(pinned.location).name if pinned is not None else path.name
        runs = not isinstance(error, ProofError)
        remedy = "" if runs else "nothing is built that cannot be proven"
        raise (BuildError if runs else ProofError)(
            *(
                Problem(
                    at,
                    f"{_subject(one, path, name)} {one.what}",
                    one.expected,
                    one.remedy or remedy,
                )
                for one in error.problems
            )
        ) from error


def _subject(one: Problem, path: Path, name: str) -> str:
    inner = "" if one.place.path in ("", path.name) else f", {one.place.path}"
    return f"'{name}'{inner}:"
