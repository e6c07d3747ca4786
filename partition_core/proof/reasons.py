"""Why a tensor may differ, in a user's words: random numbers, or rounding to 16 bits; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from partition_core.graph.file.attributes import attributes_of, tensors_of
from partition_core.graph.file.graph import Graph, Model, Value
from partition_core.graph.file.value_type import DTYPES
from partition_core.graph.marks import marks_of
from partition_core.graph.walk import all_nodes
from partition_core.proof.random_operators import (
    RandomOperator,
    draw_random_numbers,
    unseeded,
)
from partition_core.recipe.values import HALF_TOLERANCES


def reasons(model: Model, operators: Sequence[RandomOperator], remedy: str) -> Callable[[str], str]:
    """Return a function from an output, or a mark reference, of `model` to why it may differ.

    `operators` are the model's random ones, and `remedy` what to do about them. The function
    returns a clause with the remedy, or an empty string.
    """
    values = tensors_by_name(model)

    def reason(name: str) -> str:
        drawing = unseeded(model, operators, [values[name]]) if name in values else []
        if drawing:
            return f"{draw_random_numbers(drawing)} for it: {remedy}"
        if halves := half_dtype(model):
            return (
                f"the model computes in {halves}, which onnxruntime rounds only where it stores a "
                "tensor, as at a mark or the end of a segment: mark tensors that are float32, or "
                "allow the difference by 'proof.tolerance'"
            )
        return ""

    return reason


def tensors_by_name(model: Model) -> dict[str, Value]:
    """Return the outputs of `model` by name and its marked tensors by reference."""
    marked = [tensor for tensor in marks_of(model).tensors if not tensor.enclosing]
    outputs = {value.name: value for value in model.graph.outputs}
    return {**{str(tensor): tensor.marked_value for tensor in marked}, **outputs}


def rounding_by_marks(model: Model) -> str:
    """Return what to do if a segment differs from a `model` in 16 bits; empty for other models."""
    halves = half_dtype(model)
    if not halves:
        return ""
    return (
        f"the model computes in {halves}, which onnxruntime rounds only where it stores a tensor, "
        "as at a mark or the end of a segment: cut at tensors that are float32"
    )


def half_dtype(model: Model) -> str:
    """Return 'float16' or 'bfloat16' if something in `model` has this dtype; empty if not."""
    graphs = (model.graph, *(function.graph for function in model.functions.values()))
    return next((dtype for graph in graphs for dtype in _halves(graph)), "")


def _halves(graph: Graph) -> Iterator[str]:
    for dtype in _dtypes(graph):
        if DTYPES.get(dtype) in HALF_TOLERANCES:
            yield DTYPES[dtype]


def _dtypes(graph: Graph) -> Iterator[int]:
    yield from (value.tensor.dtype for value in graph.initializers if value.tensor is not None)
    yield from (value.type.dtype for value in graph.inputs if value.type is not None)
    for node in all_nodes(graph):
        if node.op_type == "Cast":
            to = attributes_of(node).get("to")
            yield to if isinstance(to, int) else 0
        elif node.op_type == "Constant":
            yield from (tensor.dtype for tensor in tensors_of(node))
        for body in node.bodies:
            yield from (v.tensor.dtype for v in body.initializers if v.tensor is not None)
