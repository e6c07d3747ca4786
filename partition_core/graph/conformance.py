"""Whether a model has the inputs, the outputs and the opset that its recipe asks for; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from partition_core.base.errors import Problem, one_of, problem, suggestion
from partition_core.graph.file.graph import Model, Value
from partition_core.graph.file.value_type import Dim
from partition_core.graph.model_inputs import inputs_of
from partition_core.recipe.input_forms import dims_misfit
from partition_core.recipe.values import ExportOptions, FileInput, Recipe


class Form(NamedTuple):
    """The dtype of a tensor, and its dims; None without a rank."""

    dtype: str
    dims: tuple[Dim, ...] | None

    def __str__(self) -> str:
        if self.dims is None:
            return f"{self.dtype} without a rank"
        return f"{self.dtype}[{', '.join('?' if dim is None else str(dim) for dim in self.dims)}]"


def differences(model: Model, recipe: Recipe) -> list[Problem]:
    """Return everything in which an end2end `model` is not what its `recipe` asks for.

    Of an ONNX file a recipe asks for nothing but sizes, which hold where the file leaves none open.
    """
    export, inputs = recipe.export, inputs_of(model)
    if not recipe.model.is_traced:
        return list(_other_sizes(recipe.model.inputs, inputs))
    made = {name: _form(value) for name, value in inputs.items()}
    found = list(input_differences(asked_inputs(export), made, "the exported model"))
    opset, outputs = model.opset_imports.get(""), tuple(one.name for one in model.graph.outputs)
    if opset != export.opset:
        what = f"the exported model has opset {opset}"
        found.append(problem("export.opset", what, f"expected {export.opset}"))
    if export.output_names and outputs != export.output_names:
        what = f"the exported model gives {', '.join(outputs) or 'nothing'}"
        expected = f"expected {', '.join(export.output_names)}"
        found.append(problem("export.output_names", what, expected))
    return found


def asked_inputs(export: ExportOptions) -> dict[str, Form]:
    """Return the inputs that a recipe asks for, by name; sizes that are free are its symbols."""
    symbols = {(axis.tensor, axis.axis): axis.symbol for axis in export.dynamic_axes}
    return {
        spec.name: Form(
            export.io_dtype(spec.dtype),
            tuple(symbols.get((spec.name, axis), size) for axis, size in enumerate(spec.shape)),
        )
        for spec in export.inputs
    }


def input_differences(
    asked: Mapping[str, Form], made: Mapping[str, Form], whose: str
) -> Iterator[Problem]:
    """Yield a problem for each input that is missing, not asked for or of another form."""
    for name, form in asked.items():
        if name not in made:
            what = f"{whose} has no such input"
            yield problem(f"export.inputs.{name}", what, one_of(made), suggestion(name, made))
        elif made[name] != form:
            key = "dtype" if made[name].dims == form.dims else "shape"
            what = f"{whose} takes {made[name]}"
            yield problem(f"export.inputs.{name}.{key}", what, f"expected {form}")
    for name in sorted(made.keys() - asked.keys()):
        what = f"{whose} has an input '{name}' as well"
        yield problem("export.inputs", what, one_of(asked))


def _other_sizes(asked: Sequence[FileInput], inputs: Mapping[str, Value]) -> Iterator[Problem]:
    for spec in asked:
        value, place = inputs.get(spec.name), f"export.inputs.{spec.name}"
        if value is None:
            yield problem(place, "the marked model has no such input", one_of(inputs))
        elif spec.shape is not None and value.type is not None:
            wrong = dims_misfit(spec.name, value.type.dims, spec.shape, "in the marked model")
            if wrong:
                yield problem(place, wrong, f"expected {list(spec.shape)}")


def _form(value: Value) -> Form:
    kind = value.type
    return Form("unknown", None) if kind is None else Form(kind.text, kind.dims)
