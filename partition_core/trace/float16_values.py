"""Which tensors of a graph are float16: those that lead to operators with weights, and not to a
decision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeGuard

import numpy as np
import onnx
import onnx_ir as ir

from partition_core.trace.mark_op import is_mark

# The outputs of these are rounded to float16, whatever reads them.
_HEAVY = frozenset({"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
# These compute nothing, so their outputs keep the dtype of their inputs.
_MOVING = frozenset(
    {
        "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
        "Identity", "Mark", "Pad", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
        "Transpose", "Unsqueeze",
    }
)  # fmt: skip
# Inputs that are positions in another tensor: float16 has 11 bits, and a picture more pixels.
_POSITIONS = {"DeformConv": 2, "GridSample": 1, "RoiAlign": 1}
_OF_THE_SHAPE = frozenset({"Shape", "Size"})
LARGEST = float(np.finfo(np.float16).max)
"""The largest number that float16 has."""


def float16_values(graph: ir.Graph, keep_io_types: bool) -> set[ir.Value]:
    """Return the float32 tensors of the main graph that become float16; no initializer is among
    them.

    The results of convolutions, matrix products and recurrent operators become float16, and all
    between them. What leads to a decision without one of those in between stays float32 (a
    comparison, TopK, NonMaxSuppression or another operator that makes integers or booleans of
    floats), and so does what is computed from nothing else. Float32 stays in the bodies of If, Loop
    and Scan, at operators without float16 and where a constant does not fit into float16. Nodes
    that only move values keep their dtype. Inputs and outputs of the graph become float16 unless
    `keep_io_types`.
    """
    nodes = list(graph)
    wanted = _wanted_in_float32(nodes)
    last = set(_last_marks(graph))
    version = graph.opset_imports[""]
    halves = set() if keep_io_types else {value for value in graph.inputs if is_float(value)}
    for node in nodes:
        if node in last:
            computes = not keep_io_types
        else:
            computes = _has_float16(node, version) and _computes(node, halves, wanted)
        if computes:
            halves.update(_outputs(node, version, of_float16=True))
    return halves


def is_float(value: ir.Value | None) -> TypeGuard[ir.Value]:
    """Return whether a value is a tensor of float32."""
    return (
        value is not None
        and isinstance(value.type, ir.TensorType)
        and value.dtype == ir.DataType.FLOAT
    )


def captured(node: ir.Node) -> Iterator[tuple[ir.Node, int, ir.Value]]:
    """Yield the node, position and value of each read of an outer value in the bodies of a node."""
    inner = [each for body in _bodies(node) for each in body.all_nodes()]
    own = {value for each in inner for value in each.outputs}
    for body in _bodies(node):
        own |= {*body.inputs, *body.initializers.values()}
    for each in inner:
        for position, value in enumerate(each.inputs):
            if value is not None and value not in own:
                yield each, position, value


def takes_float16(node: ir.Node, version: int) -> list[bool]:
    """Return for each input of a node whether the operator allows float16 there."""
    if is_mark(node):
        return [True]
    variables, kinds = _kinds(node, version)
    return [kind in variables for kind in kinds]


def _bodies(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graph = attribute.as_graph()
            yield graph
            for inner in graph:
                yield from _bodies(inner)


def _last_marks(graph: ir.Graph) -> Iterator[ir.Node]:
    """Yield the last marks in front of each output: their dtype is that of the output."""
    for value in graph.outputs:
        node = value.producer()
        while node is not None and is_mark(node) and node.inputs[0] is not None:
            yield node
            node = node.inputs[0].producer()


def _wanted_in_float32(nodes: list[ir.Node]) -> set[ir.Value]:
    wanted: set[ir.Value] = set()
    for node in reversed(nodes):
        if node.op_type in _HEAVY:
            continue
        bodies = [value for _, _, value in captured(node)]
        if bodies or _decides(node) or not wanted.isdisjoint(node.outputs):
            wanted.update(filter(is_float, (*node.inputs, *bodies)))
        elif node.op_type in _POSITIONS:
            wanted.update(filter(is_float, node.inputs[_POSITIONS[node.op_type] :][:1]))
    return wanted


def _decides(node: ir.Node) -> bool:
    if node.op_type in _OF_THE_SHAPE or not any(map(is_float, node.inputs)):
        return False
    return any(
        (value.dtype is not None and value.dtype.is_integer()) or value.dtype == ir.DataType.BOOL
        for value in node.outputs
        if value.uses() or value.is_graph_output()
    )


def _computes(node: ir.Node, halves: set[ir.Value], wanted: set[ir.Value]) -> bool:
    """Return whether a node that could compute in float16 does."""
    floats = [value for value in node.inputs if value is not None and is_float(value)]
    constants = [tensor for tensor in map(constant, floats) if tensor is not None]
    computed = [value for value in floats if constant(value) is None]
    if node.op_type in _HEAVY:
        return not any(map(_overflows, constants))
    if any(_overflows(tensor) or _vanishes(tensor) for tensor in constants):
        return False
    is_wanted = not wanted.isdisjoint(node.outputs)
    if node.op_type in _MOVING and computed and all(value in halves for value in computed):
        return True
    return not is_wanted and (not computed or any(value in halves for value in computed))


def constant(value: ir.Value) -> ir.TensorProtocol | None:
    """Return the tensor of an initializer; None for any other value."""
    return value.const_value if value.is_initializer() else None


def _overflows(tensor: ir.TensorProtocol) -> bool:
    values = np.abs(tensor.numpy())
    return bool((np.isfinite(values) & (values > LARGEST)).any())


def _vanishes(tensor: ir.TensorProtocol) -> bool:
    values = tensor.numpy()
    with np.errstate(over="ignore"):
        return bool(((values != 0) & (values.astype(np.float16) == 0)).any())


def _has_float16(node: ir.Node, version: int) -> bool:
    if node.op_type in _POSITIONS or any(True for _ in _bodies(node)):
        return False
    others = _outputs(node, version, of_float16=False)
    return not any(value.uses() or value.is_graph_output() for value in others)


def _outputs(node: ir.Node, version: int, of_float16: bool) -> list[ir.Value]:
    """Return the float outputs whose dtype is, or is not, that of an input that can be float16."""
    if is_mark(node):
        return list(filter(is_float, node.outputs)) if of_float16 else []
    schema = _schema(node, version)
    if schema is None:
        return [] if of_float16 else list(filter(is_float, node.outputs))
    variables, kinds = _kinds(node, version)
    used = {kind for kind, value in zip(kinds, node.inputs, strict=True) if is_float(value)}
    pairs = zip(node.outputs, _repeated(schema.outputs, len(node.outputs)), strict=True)
    return [
        value
        for value, kind in pairs
        if is_float(value) and (kind in used & variables) is of_float16
    ]


def _kinds(node: ir.Node, version: int) -> tuple[set[str], list[str]]:
    """Return the type variables of an operator that can be float16, and the type of each input."""
    schema = _schema(node, version)
    if schema is None:
        return set(), [""] * len(node.inputs)
    variables = {
        each.type_param_str
        for each in schema.type_constraints
        if "tensor(float16)" in each.allowed_type_strs
    }
    return variables, _repeated(schema.inputs, len(node.inputs))


def _repeated(parameters: Iterable[onnx.defs.OpSchema.FormalParameter], count: int) -> list[str]:
    """Return the types of `count` values; the last parameter may be variadic."""
    kinds = [each.type_str for each in parameters]
    return [kinds[min(position, len(kinds) - 1)] for position in range(count)]


def _schema(node: ir.Node, version: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return None
