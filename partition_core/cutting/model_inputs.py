"""The inputs of a model as a file has them, with sizes for the dims it leaves open; pure."""

from __future__ import annotations

from collections.abc import Sequence

from partition_core.cutting.onnx_file.graph import Model, Value
from partition_core.cutting.onnx_file.value_type import DTYPES, Dim
from partition_core.errors import CutError, Problem, one_of, problem, suggestion
from partition_core.recipe import TensorSpec

_AT = "export.inputs"


def inputs_of(model: Model) -> dict[str, Value]:
    """Return the inputs that a run of `model` must give, by name: those that are no weights."""
    return {value.name: value for value in model.graph.inputs if value.tensor is None}


def input_specs(model: Model, given: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Return the inputs of `model` with a size for each dim: the file's, or else that in `given`.

    Raises CutError, with YAML paths below `export.inputs`, for an input that the model does not
    have, a size that is not the file's, and a dim that has none.
    """
    inputs = inputs_of(model)
    shapes = {spec.name: spec.shape for spec in given}
    problems = [
        problem(_at(name), f"unknown input '{name}'", one_of(inputs), suggestion(name, inputs))
        for name in shapes
        if name not in inputs
    ]
    specs: list[TensorSpec] = []
    for name, value in inputs.items():
        spec = _spec(name, value, shapes.get(name))
        if isinstance(spec, Problem):
            problems.append(spec)
        else:
            specs.append(spec)
    if problems:
        raise CutError(*problems)
    return specs


def check_sizes(name: str, value: Value, shape: Sequence[int]) -> str:
    """Return how `shape` contradicts the dims that the file has for `value`; empty if it fits."""
    dims = value.type.dims if value.type is not None else None
    if dims is None:
        return ""
    fits = len(dims) == len(shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(dims, shape, strict=True)
    )
    return "" if fits else f"input '{name}' has the dims {_text(dims)} in the file"


def _spec(name: str, value: Value, shape: tuple[int, ...] | None) -> TensorSpec | Problem:
    kind = value.type
    if kind is None or kind.dtype not in DTYPES:
        what = f"input '{name}' is {kind.text if kind else 'of unknown type'}"
        return problem(_AT, what, "only tensors can be made", "name '.npz' files in 'proof.inputs'")
    if shape is not None:
        wrong = check_sizes(name, value, shape)
        return problem(_at(name), wrong) if wrong else _made(name, shape, kind.dtype)
    if kind.dims is not None and all(isinstance(dim, int) for dim in kind.dims):
        return _made(name, tuple(dim for dim in kind.dims if isinstance(dim, int)), kind.dtype)
    what = f"input '{name}' has no dims in the file"
    example: Sequence[Dim] = ("…",)
    if kind.dims is not None:
        what = f"input '{name}' has the dims {_text(kind.dims)}"
        example = [dim if isinstance(dim, int) else "…" for dim in kind.dims]
    written = f"export: {{inputs: {{{_key(name)}: {{shape: {_text(example)}}}}}}}"
    return problem(_AT, what, "the proof needs a size for each", f"write `{written}`")


def _made(name: str, shape: tuple[int, ...], dtype: int) -> TensorSpec:
    return TensorSpec(name, shape, DTYPES[dtype])


def _text(dims: Sequence[Dim]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"


def _key(name: str) -> str:
    return name if name.replace("_", "a").isalnum() and not name[0].isdigit() else f"'{name}'"


def _at(name: str) -> str:
    plain = name.replace("_", "a").replace("-", "a").isalnum() and name.isascii()
    return f"{_AT}.{name}" if plain else f"{_AT}['{name}']"
