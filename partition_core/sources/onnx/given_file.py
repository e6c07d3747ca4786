"""The ONNX file of a recipe: read, checked against the recipe, and marked."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.backends.onnxruntime.backend import output_types
from partition_core.base.build_name import BuildName
from partition_core.base.errors import BuildError, CutError, Problem, ProofError, problem
from partition_core.graph.external import check_external_data, locations
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.file.graph_writer import write_model
from partition_core.graph.file.tensor_writers import Inline
from partition_core.graph.files import LARGEST
from partition_core.graph.index_reads import index_ranges
from partition_core.graph.inference import order_problem
from partition_core.graph.known_types import boundary_tensors, complete_types, misfits
from partition_core.graph.marks import MarkedTensor, MarkTable, marks_of
from partition_core.graph.model_inputs import (
    IN_THE_FILE,
    check_inputs,
    drawn_inputs,
    expected_inputs,
    fix_sizes,
    inputs_of,
    open_batches,
)
from partition_core.graph.named_tensors import NamedTensor, marks_by_name, tensor_names
from partition_core.graph.scope import scopes_of
from partition_core.graph.stored_models import END2END_PLACEMENTS
from partition_core.graph.structural_marks import structural_marks
from partition_core.graph.tensor_patterns import expanded
from partition_core.graph.undefined import check_defined
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.input_forms import ALL_FIXED, TensorType
from partition_core.recipe.mark_reference import MarkReference, Side
from partition_core.recipe.places import in_recipe
from partition_core.recipe.values import (
    ONE_LINE,
    FileInput,
    OnnxModel,
    Recipe,
    TensorName,
    WeightsPlacement,
)
from partition_core.sources.job import Job
from partition_core.sources.pinned import pinned_by

if TYPE_CHECKING:
    from partition_core.base.index_ranges import Ranges
    from partition_core.base.recording import Recording
    from partition_core.sources.samples import Sample

_SIDES: Mapping[str, tuple[Side, ...]] = {
    "tensors": ("input", "output"),
    "inputs": ("input",),
    "outputs": ("output",),
}
_IN_ONE_LINE = {"inputs": "partition.from", "outputs": "partition.to"}


@dataclass(frozen=True)
class MarkedFile:
    """An ONNX file, the tensors that a recipe marks in it, the tensor of each reference, and the
    tensors where segments start or end."""

    model: Model
    added: tuple[MarkedTensor, ...]
    marks: dict[str, str]
    boundary: tuple[MarkedTensor, ...]


def marked_by(job: Job, path: Path) -> MarkedFile:
    """Return the ONNX file at `path` with the marks of a job's recipe; raises PartitionError."""
    model = opened(job.file, path)
    with about(job.file, path):
        _check_size(model, path.name, job.recipe.export.weights)
        own = marks_of(model).tensors
    with in_recipe(job.file):
        if BuildName.of(job.recipe.name).variant:
            fix_sizes(model, _model(job.recipe).inputs)
        _check_names(job.recipe, own)
        added = marks_by_name(model, _named(job.recipe, model)).tensors
        if job.recipe.partition.cut:
            check_order(model, path.name)
            by_structure = structural_marks(model, job.recipe.partition.cut, is_file=True)
            added = (*added, *by_structure.tensors)
        table = MarkTable((*own, *added))
        boundary = boundary_tensors(table, job.recipe.partition.segments)
        complete_types(model, boundary, _model(job.recipe).types, output_types)
        scopes_of(model, job.recipe.partition.segments, table)
        check_inputs(model, _model(job.recipe).inputs)
    reachable = [tensor for tensor in table.tensors if not tensor.enclosing]
    marks = {str(t.reference): t.marked_value.name for t in reachable}
    return MarkedFile(model, added, marks, tuple(boundary))


def opened(file: RecipeFile, path: Path) -> Model:
    """Return the ONNX file at `path`; raises BuildError for a broken or incomplete one."""
    with about(file, path):
        model = read_model(path)
        check_defined(model, path.name)
        pinned = pinned_by(file)
        if pinned is not None and pinned.is_url and (elsewhere := locations(model)):
            what = f"it has weights in another file, '{elsewhere[0]}', which is not fetched"
            remedy = "download both files and name the path of the model"
            raise CutError.at(path.name, what, "expected one file", remedy)
        check_external_data(model)
    return model


def _check_size(model: Model, name: str, weights: WeightsPlacement) -> None:
    if END2END_PLACEMENTS[weights] != "inline" or not locations(model):
        return
    size = sum(map(len, write_model(model, Inline(model.folder))))
    if size > LARGEST:
        what = f"with its weights inside it has {size} bytes"
        remedy = "write `export: {weights: external}`, or `shared`"
        raise CutError.at(name, what, f"no ONNX file can have more than {LARGEST}", remedy)


def check_order(model: Model, name: str) -> None:
    """Raise CutError for a node before the one whose tensor it reads."""
    # onnxruntime sorts the nodes; onnx would report the tensors behind the marks.
    if late := order_problem(model.graph):
        raise CutError.at(name, late, "", "sort the nodes, as ONNX asks")


def _check_names(recipe: Recipe, own: tuple[MarkedTensor, ...]) -> None:
    known = {tensor.mark for tensor in own}
    CutError.refuse(
        problem(
            f"marks[{index}].name", f"the file already has a mark '{mark.name}'", "", "rename it"
        )
        for index, mark in enumerate(_model(recipe).marks)
        if mark.name in known
    )


def _named(recipe: Recipe, model: Model) -> list[NamedTensor]:
    is_one_line = recipe.partition.type == ONE_LINE
    entries: list[tuple[str, str, Side, TensorName]] = []
    problems: list[Problem] = []
    for index, mark in enumerate(_model(recipe).marks):
        for key, sides in _SIDES.items():
            names: tuple[TensorName, ...] = getattr(mark, key)
            at = _IN_ONE_LINE[key] if is_one_line and names else f"marks[{index}].{key}"
            fitting: list[tuple[str, TensorName]] = []
            for number, name in enumerate(names):
                each = expanded(model, name, f"{at}[{number}]")
                if isinstance(each, Problem):
                    problems.append(each)
                else:
                    fitting += [(f"{at}[{number}]", one) for one in each]
            entries += [(place, mark.name, side, one) for side in sides for place, one in fitting]
    CutError.refuse(problems)
    tensors = tensor_names(model, [(at, name) for at, _, _, name in entries])
    named: list[NamedTensor] = []
    for (at, mark_name, side, name), tensor in zip(entries, tensors, strict=True):
        path = (name.alias or tensor,)
        reference = str(MarkReference(mark_name, side, 0, path))
        label = tensor if is_one_line else reference
        named.append(NamedTensor(mark_name, side, path, tensor, at, label=label))
    _check_different(named)
    return named


def _check_different(tensors: Sequence[NamedTensor]) -> None:
    first: dict[tuple[str, Side, tuple[str, ...]], NamedTensor] = {}
    problems: list[Problem] = []
    for tensor in tensors:
        other = first.setdefault((tensor.mark, tensor.side, tensor.path), tensor)
        if other is tensor:
            continue
        if other.tensor == tensor.tensor:
            what = f"it is the tensor '{tensor.tensor}', which {other.at} names already"
            problems.append(problem(tensor.at, what, "", "list it once"))
        else:
            name = ".".join(tensor.path)
            what = f"'{name}' names the tensor '{other.tensor}' in {other.at} already"
            problems.append(problem(tensor.at, what, "", "give one of them another name with 'as'"))
    CutError.refuse(problems)


def samples_for(job: Job, model: Model) -> list[Sample]:
    """Return the inputs that the file runs on; raises PartitionError for unfit files."""
    from partition_core.sources.samples import Sample, arrays_from_files, samples_of

    recipe = job.recipe
    entries = _model(recipe).inputs
    with in_recipe(job.file):
        if not recipe.proof.inputs:
            specs = drawn_inputs(model, entries)
            if specs and all(spec.value is not None for spec in specs):
                raise CutError.at("export.inputs", *ALL_FIXED)
            return samples_of(specs, ())
        files = [job.root / name for name in recipe.proof.inputs]
        from_files = arrays_from_files(files, expected_inputs(model), IN_THE_FILE)
        _check_shapes(from_files, entries)
        return [
            Sample(arrays, tuple(drawn_inputs(model, entries, _shapes(arrays))), number + 1)
            for number, arrays in enumerate(from_files)
        ]


def batched(model: Model, samples: Sequence[Sample], batches: Sequence[int]) -> dict[int, Sample]:
    """Return a sample for each of `batches` that `samples` lack: the size of every open dim 0."""
    from partition_core.sources.samples import fitted

    open_inputs = open_batches(model)
    first = samples[0].arrays()
    known = {len(first[name]) for name in open_inputs if name in first}
    result = {}
    for number, batch in enumerate(sorted({*batches} - known) if known else ()):
        sample = samples[number % len(samples)]
        result[batch] = dataclasses.replace(
            sample,
            from_file={
                name: fitted(array, (batch, *array.shape[1:])) if name in open_inputs else array
                for name, array in sample.from_file.items()
            },
            drawn=tuple(
                dataclasses.replace(spec, shape=(batch, *spec.shape[1:]))
                if spec.name in open_inputs
                else spec
                for spec in sample.drawn
            ),
            key=len(samples) + number + 1,
        )
    return result


def _check_shapes(files: Sequence[Mapping[str, Any]], entries: Sequence[FileInput]) -> None:
    shapes = {entry.name: entry.shape for entry in entries if entry.shape is not None}
    CutError.refuse(
        problem(
            f"proof.inputs[{index}]",
            f"input '{name}' is {list(arrays[name].shape)} here",
            f"expected {list(shape)}, as in 'export.inputs'",
            f"use arrays of that shape, or leave out the shape of '{name}' there",
        )
        for index, arrays in enumerate(files)
        for name, shape in shapes.items()
        if name in arrays and arrays[name].shape != shape
    )


def ranges_for(model: Model, samples: list[Sample]) -> Ranges:
    """Return the ranges of the inputs without a range or value that index tables."""
    from partition_core.sources.samples import undetermined

    if not undetermined(samples):
        return {}
    return index_ranges(model, [_shapes(sample.arrays()) for sample in samples])


def check_types(job: Job, source: MarkedFile, recording: Recording) -> None:
    """Raise ProofError for types in the recipe that the tensors of a sample do not have."""
    references = {tensor.value.name: str(tensor.reference) for tensor in source.boundary}
    values = [*inputs_of(source.model).values(), *(tensor.value for tensor in source.boundary)]
    declared = {v.name: v.type for v in values if v.type is not None and not v.type.composed}
    for sample in recording.samples:
        arrays = {name: sample.marks.get(reference) for name, reference in references.items()}
        seen = {
            name: TensorType(array.dtype.name, array.shape)
            for name, array in (*arrays.items(), *sample.inputs.items())
            if array is not None and name in declared
        }
        with in_recipe(job.file):
            ProofError.refuse(misfits(_model(job.recipe).types, declared, seen))


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _model(recipe: Recipe) -> OnnxModel:
    if not isinstance(recipe.model, OnnxModel):
        raise ValueError(f"the model of '{recipe.name}' is not an ONNX file")
    return recipe.model


@contextlib.contextmanager
def about(file: RecipeFile, path: Path) -> Iterator[None]:
    """Report problems of the ONNX file at `path` at the recipe's key that names it."""
    try:
        yield
    except (CutError, ProofError) as error:
        pinned = pinned_by(file)
        at = file.place(pinned.at if pinned is not None else "model")
        # A downloaded file has another name here than in its URL.
        name = Path(pinned.location).name if pinned is not None else path.name
        runs = not isinstance(error, ProofError)
        remedy = "" if runs else "nothing is built that cannot be proven"
        raise (BuildError if runs else ProofError)(
            *(
                Problem(
                    at,
                    f"{_subject(each, path, name)} {each.what}",
                    each.expected,
                    each.remedy or remedy,
                )
                for each in error.problems
            )
        ) from error


def _subject(error: Problem, path: Path, name: str) -> str:
    inner = "" if error.place.path in ("", path.name) else f", {error.place.path}"
    return f"'{name}'{inner}:"
