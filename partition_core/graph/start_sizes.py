"""Takes sizes that a segment reads from an input of the whole model from its own starts instead.

An exporter reads a size that is not fixed from the model's input, wherever it is used. A segment
that starts behind the input would need it for nothing but its shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from partition_core.graph.file.attributes import attributes_of
from partition_core.graph.file.graph import Graph, Node, Value
from partition_core.graph.marks import unmarked_value


def start_sizes(graph: Graph, starts: Sequence[Value]) -> Mapping[Node, Value]:
    """Return, for Shape nodes of `graph`, the start that has the same size as what they read.

    Such a node reads one dim of an input of the graph that is none of `starts`; its size has a
    symbol, and the start has this symbol in the same dim. Dims with one symbol are equal (ONNX,
    "Intermediate Representation", `dim_param`).
    """
    inputs = {value for value in graph.inputs if value not in starts}
    substitutes: dict[Node, Value] = {}
    for node in graph:
        read = node.inputs[0] if node.op_type == "Shape" and not node.domain else None
        if read is None or (source := unmarked_value(read)) not in inputs:
            continue
        axis = _only_axis(node)
        symbol = _symbol(source, axis)
        same = next((start for start in starts if symbol and _symbol(start, axis) == symbol), None)
        if same is not None:
            substitutes[node] = same
    return substitutes


def _only_axis(node: Node) -> int:
    """Return the dim that a Shape node reads if it reads one counted from the front, else -1."""
    attributes = attributes_of(node)
    first, last = attributes.get("start", 0), attributes.get("end", -1)
    return first if isinstance(first, int) and last == first + 1 and first >= 0 else -1


def _symbol(value: Value, axis: int) -> str:
    kind = value.type
    dims = kind.dims if kind is not None else None
    dim = dims[axis] if dims is not None and 0 <= axis < len(dims) else None
    return dim if isinstance(dim, str) else ""
