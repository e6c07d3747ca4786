"""The recipe's `dynamic_axes` compared with a trace: errors, and the sizes to prove on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import DynamicAxis, ExportOptions, TensorSpec
from partition_core.trace.free_sizes import FreeSizes
from partition_core.trace.tracing import free_sizes, input_dims

Shapes = tuple[tuple[int, ...], ...]
"""The shape of each input, in the order in which the module takes them."""


def checked_sizes(
    export: ExportOptions,
    inputs: tuple[TensorSpec, ...],
    program: torch.export.ExportedProgram,
) -> FreeSizes:
    """Return the sizes of `program` that are not fixed, under the recipe's symbols.

    `inputs` are in the order of the module. Raises ExportError for a dim that the model fixes,
    and for one that the trace keeps from growing.
    """
    numbers = {spec.name: number for number, spec in enumerate(inputs)}
    dims = input_dims(program)
    for axis in export.dynamic_axes:
        free_symbol(dims[numbers[axis.tensor]][axis.axis], axis)
    axes = [(numbers[axis.tensor], axis.axis, axis.symbol) for axis in export.dynamic_axes]
    sizes = free_sizes(program, axes)
    stuck = sizes.fixed_inside()
    if stuck is None:
        return sizes
    symbol, most, condition = stuck
    tensor = next(axis.tensor for axis in export.dynamic_axes if axis.symbol == symbol)
    raise ExportError.at(
        f"export.dynamic_axes.{tensor}",
        f"traced with '{symbol}' = {sizes.sizes[symbol].traced}, the model would be wrong "
        f"for '{symbol}' above {most}",
        f"a size inside it is fixed up to there: {condition}",
        f"give '{tensor}' a shape with a '{symbol}' above {most}",
    )


def other_shapes(
    export: ExportOptions,
    inputs: tuple[TensorSpec, ...],
    sizes: FreeSizes,
    batches: Sequence[int],
) -> list[Shapes]:
    """Return shapes of the inputs in which every size that is not fixed differs from the traced.

    Dims 0 that are not fixed have the sizes `batches`, as far as the model allows.

    Raises ExportError if there are none for which the trace is valid.
    """
    others = sizes.others(dict.fromkeys(export.batches, batches))
    if not others:
        raise ExportError.at(
            "export.dynamic_axes",
            "no sizes other than those of 'inputs' were found for which the trace is valid",
            f"it requires {'; '.join(sizes.limits()['conditions'])}",
            "leave 'dynamic_axes' out, or change the model",
        )
    return [tuple(_shape(export, spec, chosen) for spec in inputs) for chosen in others]


def traced_shapes(export: ExportOptions, inputs: tuple[TensorSpec, ...]) -> Shapes:
    """Return shapes of the inputs to trace: those of the recipe, 2 for a free size of 1.

    torch.export takes a size of 1 for a constant, whatever the model does with it.
    """
    shapes = {spec.name: spec.shape for spec in inputs}
    chosen = {a.symbol: 2 for a in export.dynamic_axes if shapes[a.tensor][a.axis] == 1}
    return tuple(_shape(export, spec, chosen) for spec in inputs)


def _shape(export: ExportOptions, spec: TensorSpec, chosen: Mapping[str, int]) -> tuple[int, ...]:
    symbols = {a.axis: a.symbol for a in export.dynamic_axes if a.tensor == spec.name}
    return tuple(
        chosen.get(symbols.get(number, ""), size) for number, size in enumerate(spec.shape)
    )


@contextlib.contextmanager
def at_sizes(
    export: ExportOptions, inputs: tuple[TensorSpec, ...], shapes: Shapes
) -> Iterator[None]:
    """Report at `export.dynamic_axes` that the model does not run on inputs of `shapes`."""
    try:
        yield
    except ExportError as error:
        sizes = {
            axis.symbol: shape[axis.axis]
            for axis in export.dynamic_axes
            for spec, shape in zip(inputs, shapes, strict=True)
            if spec.name == axis.tensor
        }
        named = ", ".join(f"'{symbol}' = {size}" for symbol, size in sizes.items())
        raise ExportError.at(
            "export.dynamic_axes",
            f"with {named} {error.problems[0].what}",
            error.problems[0].expected,
            "leave out the sizes that the model fixes, or change the model",
        ) from error


def free_symbol(dim: int | str, axis: DynamicAxis) -> str:
    """Return the traced symbol of a dim that is dynamic in the recipe; reject a fixed one."""
    if isinstance(dim, str):
        return dim
    raise ExportError.at(
        f"export.dynamic_axes.{axis.tensor}",
        f"dim {axis.axis} of '{axis.tensor}' cannot be dynamic: the model fixes it at {dim}",
        "a dim can be dynamic if no code of the model depends on its value",
        f"leave '{axis.symbol}' out, or change the model",
    )


def always_equal(known: str, axis: DynamicAxis) -> ExportError:
    """Return the error of a dim with its own symbol that is always the same size as `known`."""
    return ExportError.at(
        f"export.dynamic_axes.{axis.tensor}",
        f"dim {axis.axis} of '{axis.tensor}' is always equal to '{known}' in this model",
        "expected one symbol for each size",
        f"write '{known}' instead of '{axis.symbol}'",
    )
