"""Checks that a model has the inputs, outputs and opset that its recipe asks for; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from partition_core.base.errors import Problem, one_of, problem, suggestion
from partition_core.graph.file.graph import Model, Value
from partition_core.graph.model_inputs import inputs_of
from partition_core.recipe.input_forms import TensorType, dims_misfit
from partition_core.recipe.values import ExportOptions, FileInput, Recipe


def differences(model: Model, recipe: Recipe) -> list[Problem]:
    """Return everything in which an end2end `model` is not what its `recipe` asks for.

    For an ONNX file a recipe fixes only sizes, and only those that the file leaves open.
    """
    export, inputs = recipe.export, inputs_of(model)
    if not recipe.model.is_traced:
        return list(_other_sizes(recipe.model.inputs, inputs))
    actual = {name: _type_of(value) for name, value in inputs.items()}
    problems = list(input_differences(recipe_inputs(export), actual, "the exported model"))
    opset = model.opset_imports.get("")
    outputs = tuple(value.name for value in model.graph.outputs)
    if opset != export.opset:
        what = f"the exported model has opset {opset}"
        problems.append(problem("export.opset", what, f"expected {export.opset}"))
    if export.output_names and outputs != export.output_names:
        what = f"the exported model gives {', '.join(outputs) or 'nothing'}"
        expected = f"expected {', '.join(export.output_names)}"
        problems.append(problem("export.output_names", what, expected))
    return problems


def recipe_inputs(export: ExportOptions) -> dict[str, TensorType]:
    """Return the inputs that a recipe asks for, by name; dynamic sizes are its symbols."""
    symbols = {(axis.tensor, axis.axis): axis.symbol for axis in export.dynamic_axes}
    return {
        spec.name: TensorType(
            export.io_dtype(spec.dtype),
            tuple(symbols.get((spec.name, axis), size) for axis, size in enumerate(spec.shape)),
        )
        for spec in export.inputs
    }


def input_differences(
    expected: Mapping[str, TensorType], actual: Mapping[str, TensorType], owner: str
) -> Iterator[Problem]:
    """Yield a problem for each input that is missing, unexpected or of another type."""
    for name, wanted in expected.items():
        if name not in actual:
            what = f"{owner} has no such input"
            yield problem(f"export.inputs.{name}", what, one_of(actual), suggestion(name, actual))
        elif actual[name] != wanted:
            key = "dtype" if actual[name].dims == wanted.dims else "shape"
            what = f"{owner} takes {actual[name]}"
            yield problem(f"export.inputs.{name}.{key}", what, f"expected {wanted}")
    for name in sorted(actual.keys() - expected.keys()):
        what = f"{owner} has an input '{name}' as well"
        yield problem("export.inputs", what, one_of(expected))


def _other_sizes(specs: Sequence[FileInput], inputs: Mapping[str, Value]) -> Iterator[Problem]:
    for spec in specs:
        value, place = inputs.get(spec.name), f"export.inputs.{spec.name}"
        if value is None:
            yield problem(place, "the marked model has no such input", one_of(inputs))
        elif spec.shape is not None and value.type is not None:
            wrong = dims_misfit(spec.name, value.type.dims, spec.shape, "in the marked model")
            if wrong:
                yield problem(place, wrong, f"expected {list(spec.shape)}")


def _type_of(value: Value) -> TensorType:
    kind = value.type
    return TensorType("unknown", None) if kind is None else TensorType(kind.text, kind.dims)
