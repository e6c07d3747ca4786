"""The inputs of a model file, combined with what a recipe says about them; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType

from partition_core.base.errors import CutError, Problem, one_of, problem, suggestion
from partition_core.base.wording import size_text
from partition_core.graph.file.graph import Model, Value
from partition_core.graph.file.value_type import DTYPES, Dim, byte_size, tensor_info
from partition_core.graph.inference import infer_again
from partition_core.recipe.input_forms import (
    DRAWN,
    NO_RANGE_OF_BOOL,
    TensorType,
    dims_misfit,
    dims_text,
    elements_text,
    is_element,
)
from partition_core.recipe.values import FileInput, TensorSpec

IN_THE_FILE = "in the file"
LARGEST_BY_FILE = 128 << 20
"""The most bytes of an input whose shape only the file gives: a damaged one could fill memory."""
_AT = "export.inputs"


def inputs_of(model: Model) -> dict[str, Value]:
    """Return the inputs that a run of `model` needs, by name: all but weights."""
    return {value.name: value for value in model.graph.inputs if value.tensor is None}


def open_batches(model: Model) -> list[str]:
    """Return the inputs of `model` of two dims or more whose dim 0 is not fixed."""
    types = {name: value.type for name, value in inputs_of(model).items()}
    return [
        name
        for name, kind in types.items()
        if kind is not None
        and kind.dims
        and len(kind.dims) > 1
        and isinstance(kind.dims[0], str | None)
    ]


def expected_inputs(model: Model) -> dict[str, TensorType]:
    """Return the expected dtypes and dims of arrays for the inputs of `model`."""

    def expected(value: Value) -> TensorType:
        kind = value.type
        if kind is None:
            return TensorType("", None)
        return TensorType(kind.text if kind.text in DRAWN else "", kind.dims)

    return {name: expected(value) for name, value in inputs_of(model).items()}


def check_inputs(model: Model, entries: Sequence[FileInput]) -> None:
    """Raise CutError, with YAML paths below `export.inputs`, for contradictions of the file."""
    inputs = inputs_of(model)
    problems = [
        problem(
            _at(entry.name),
            f"unknown input '{entry.name}'",
            one_of(inputs),
            suggestion(entry.name, inputs),
        )
        for entry in entries
        if entry.name not in inputs
    ]
    for entry in entries:
        if entry.name in inputs:
            problems += _contradictions(entry, inputs[entry.name])
    CutError.refuse(problems)


def fix_sizes(model: Model, entries: Sequence[FileInput]) -> None:
    """Give the inputs of `model` the shapes of `entries`, and its other tensors what follows.

    Raises CutError as `check_inputs` does.
    """
    check_inputs(model, entries)
    inputs = inputs_of(model)
    shapes = {entry.name: entry.shape for entry in entries if entry.shape is not None}
    for name, shape in shapes.items():
        value = inputs[name]
        if value.type is not None and value.type.dtype:
            value.info = tensor_info(name, value.type.dtype, shape, value.info)
    if shapes:
        infer_again(model)


def symbol_sizes(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the sizes of the symbols in the inputs' dims where the inputs have `shapes`."""
    sizes: dict[str, int] = {}
    for name, value in inputs_of(model).items():
        dims = value.type.dims if value.type is not None else None
        pairs = zip(dims or (), shapes.get(name, ()), strict=False)
        sizes.update({dim: size for dim, size in pairs if isinstance(dim, str)})
    return sizes


def drawn_inputs(
    model: Model,
    entries: Sequence[FileInput],
    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> list[TensorSpec]:
    """Return the inputs of `model` except those in `shapes`, the given inputs' shapes by name.

    Each dim has the file's size, that of its symbol in a given input, or that of its entry. Raises
    CutError, with YAML paths below `export.inputs`, for a dim without a size, and for a dtype of
    which no random numbers are drawn.
    """
    by_name = {entry.name: entry for entry in entries}
    sizes = symbol_sizes(model, shapes)
    specs: list[TensorSpec] = []
    problems: list[Problem] = []
    for name, value in inputs_of(model).items():
        if name not in shapes:
            spec = _spec(value, by_name.get(name, FileInput(name)), sizes)
            if isinstance(spec, Problem):
                problems.append(spec)
            else:
                specs.append(spec)
    CutError.refuse(problems)
    return specs


def _contradictions(entry: FileInput, value: Value) -> Iterator[Problem]:
    dtype = DTYPES.get(value.type.dtype, "") if value.type is not None else ""
    if entry.shape is not None:
        dims = value.type.dims if value.type is not None else None
        wrong = dims_misfit(entry.name, dims, entry.shape, IN_THE_FILE)
        if wrong:
            yield problem(_at(entry.name), wrong)
    if dtype not in DRAWN:
        return
    numbers = {"value": () if entry.value is None else (entry.value,), "range": entry.range or ()}
    for key, elements in numbers.items():
        outside = [element for element in elements if not is_element(dtype, element)]
        if dtype == "bool" and key == "range" and elements:
            yield problem(f"{_at(entry.name)}.{key}", *NO_RANGE_OF_BOOL)
        elif outside:
            shown = str(outside[0]).lower()
            what = f"input '{entry.name}' is {dtype} {IN_THE_FILE}, and no {dtype} is {shown}"
            yield problem(f"{_at(entry.name)}.{key}", what, f"expected {elements_text(dtype)}")


def _spec(value: Value, entry: FileInput, sizes: Mapping[str, int]) -> TensorSpec | Problem:
    name, kind = value.name, value.type
    in_files = "name '.npz' files in 'proof.inputs'"
    if kind is None or kind.dtype not in DTYPES:
        what = f"input '{name}' is {kind.text if kind else 'of unknown type'}"
        return problem(_AT, what, "only tensors can be drawn at random", in_files)
    dtype = DTYPES[kind.dtype]
    if dtype not in DRAWN:
        what = f"input '{name}' is {dtype}, which cannot be drawn at random"
        return problem("model", what, "expected an integer, a float or a boolean", in_files)
    open_dims = kind.dims if kind.dims is not None else entry.shape
    sized = [_size(*pair, sizes) for pair in zip_longest(open_dims or (), entry.shape or ())]
    shape = tuple(dim for dim in sized if dim is not None)
    if open_dims is not None and len(shape) == len(sized):
        size = byte_size(kind.dtype, shape) or 0
        if size > LARGEST_BY_FILE and entry.shape is None:
            return _too_large(name, shape, size)
        return TensorSpec(name, shape, dtype, entry.range, entry.value)
    what = f"input '{name}' has no dims in the file"
    example: Sequence[Dim] = ("…",)
    if kind.dims is not None:
        what = f"input '{name}' has the dims {dims_text(kind.dims)}"
        example = [dim if isinstance(dim, int) else "…" for dim in kind.dims]
    written = _written(name, example)
    return problem(_AT, what, "the proof needs a size for each", f"write `{written}`")


def _too_large(name: str, shape: Sequence[int], size: int) -> Problem:
    what = f"input '{name}' has the dims {dims_text(shape)} in the file, {size_text(size)}"
    expected = f"without a shape in the recipe the limit is {size_text(LARGEST_BY_FILE)}"
    return problem(_AT, what, expected, f"write `{_written(name, shape)}` if that is intended")


def _written(name: str, dims: Sequence[Dim]) -> str:
    return f"export: {{inputs: {{{_key(name)}: {{shape: {dims_text(dims)}}}}}}}"


def _size(dim: Dim, own: int | None, sizes: Mapping[str, int]) -> int | None:
    if isinstance(dim, int):
        return dim
    return own if dim is None else sizes.get(dim, own)


def _key(name: str) -> str:
    return name if name.replace("_", "a").isalnum() and not name[0].isdigit() else f"'{name}'"


def _at(name: str) -> str:
    plain = name.replace("_", "a").replace("-", "a").isalnum() and name.isascii()
    return f"{_AT}.{name}" if plain else f"{_AT}['{name}']"
