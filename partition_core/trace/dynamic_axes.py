"""The recipe's `dynamic_axes` compared with a trace: errors, and the sizes to prove on."""

from __future__ import annotations

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
    export: ExportOptions, inputs: tuple[TensorSpec, ...], sizes: FreeSizes
) -> list[Shapes]:
    """Return shapes of the inputs in which every size that is not fixed differs from the traced.

    Raises ExportError if there are none for which the trace is valid.
    """
    others = sizes.others()
    if not others:
        raise ExportError.at(
            "export.dynamic_axes",
            "no sizes other than those of 'inputs' were found for which the trace is valid",
            f"it requires {'; '.join(sizes.limits()['conditions'])}",
            "leave 'dynamic_axes' out, or change the model",
        )
    symbols = {(axis.tensor, axis.axis): axis.symbol for axis in export.dynamic_axes}

    def shape(spec: TensorSpec, chosen: dict[str, int]) -> tuple[int, ...]:
        return tuple(
            chosen.get(symbols.get((spec.name, number), ""), size)
            for number, size in enumerate(spec.shape)
        )

    return [tuple(shape(spec, chosen) for spec in inputs) for chosen in others]


def free_symbol(dim: int | str, axis: DynamicAxis) -> str:
    """Return the traced symbol of a dim that is dynamic in the recipe; reject a fixed one."""
    if isinstance(dim, str):
        return dim
    # torch.export treats a size of 1 as a constant, whatever the model does with it.
    larger = f"give '{axis.tensor}' a size of 2 or more there, or " if dim == 1 else ""
    raise ExportError.at(
        f"export.dynamic_axes.{axis.tensor}",
        f"dim {axis.axis} of '{axis.tensor}' cannot be dynamic: the model fixes it at {dim}",
        "a dim can be dynamic if no code of the model depends on its value",
        f"{larger}leave '{axis.symbol}' out, or change the model",
    )


def always_equal(known: str, axis: DynamicAxis) -> ExportError:
    """Return the error of a dim with its own symbol that is always the same size as `known`."""
    return ExportError.at(
        f"export.dynamic_axes.{axis.tensor}",
        f"dim {axis.axis} of '{axis.tensor}' is always equal to '{known}' in this model",
        "expected one symbol for each size",
        f"write '{known}' instead of '{axis.symbol}'",
    )
