"""Finds the tables that the inputs of an ONNX file index, from its graph; must not run it.

The walk follows nodes that keep the elements of an input or shift them by a constant, also inside
the bodies of other nodes. Nothing is known of other nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from partition_core.base.index_ranges import (
    UNFOLLOWED,
    IndexReads,
    Origin,
    Origins,
    Ranges,
    joined,
    moved,
    scaled,
)
from partition_core.graph.costs import TypeOf, types_of
from partition_core.graph.file.attributes import attributes_of, tensors_of
from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Graph, Model, Node, Value
from partition_core.graph.file.tensor import Tensor
from partition_core.graph.marks import is_mark
from partition_core.graph.model_inputs import symbol_sizes

_LONGEST_CONSTANT = 1 << 20
_BOOL = 9
_MICROSOFT = "com.microsoft"

_KEEPING = frozenset(
    (
        "Cast", "CastLike", "Clip", "Compress", "Dropout", "Expand", "Flatten", "Gather",
        "GatherElements", "GatherND", "Identity", "Mod", "Pad", "ReduceMax", "ReduceMin",
        "Reshape", "Slice", "Split", "Squeeze", "Tile", "TopK", "Transpose", "Trilu",
        "Unsqueeze",
    )
)  # fmt: skip
"""Operators whose first output (all outputs of Split) has elements of the first input.

Some add other elements, which are not from a model's input. A Clip or Mod of an index lies between
indexes that are in the table.
"""
_JOINING = {
    "Concat": slice(None), "Max": slice(None), "Min": slice(None), "Where": slice(1, 3),
    "ScatterElements": slice(0, 3, 2), "ScatterND": slice(0, 3, 2),
}  # fmt: skip
"""Operators whose output has elements of several inputs, with these inputs."""
_SHAPING = frozenset(("Cast", "Expand", "Identity", "Reshape", "Squeeze", "Unsqueeze"))
"""Operators that keep the elements of a constant."""


def index_ranges(model: Model, shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> Ranges:
    """Return the range of each input whose elements index tables of known sizes.

    `shapes` holds the shapes of the inputs, by name, for each sample; the size of a table may
    depend on them.
    """
    reads = IndexReads()
    type_in = types_of(model)
    for of_sample in shapes:
        inputs = [value for value in model.graph.inputs if value.name in of_sample]
        walk = _Walk(reads, type_in, symbol_sizes(model, of_sample))
        walk.origins = {value: frozenset([Origin(value.name)]) for value in inputs}
        walk.follow(model.graph)
    return reads.ranges()


class _Walk:
    """One forward pass through a model."""

    def __init__(self, reads: IndexReads, type_in: TypeOf, sizes: Mapping[str, int]) -> None:
        self.origins: dict[Value, Origins] = {}
        self.reads = reads
        self._type_in = type_in
        self._sizes = sizes

    def follow(self, graph: Graph) -> None:
        for node in graph:
            for body in node.bodies:
                self.follow(body)
            for origins, size in self._reads_of(node):
                self.reads.note(origins, size)
            self._note_outputs(node)

    def _of(self, value: Value | None) -> Origins:
        return UNFOLLOWED if value is None else self.origins.get(value, UNFOLLOWED)

    def _note_outputs(self, node: Node) -> None:
        if node.op_type == "If" and not node.domain:
            branches = zip(*(body.outputs for body in node.bodies), strict=True)
            outputs = [joined(map(self._of, values)) for values in branches]
        else:
            outputs = [self._origins(node)]
        if node.op_type == "Split":
            outputs *= len(node.outputs)
        for value, origins in zip(node.outputs, outputs, strict=False):
            if origins:
                self.origins[value] = origins

    def _origins(self, node: Node) -> Origins:
        inputs = [self._of(value) for value in node.inputs]
        if not any(inputs):
            return UNFOLLOWED
        if is_mark(node):
            return inputs[0]
        if node.domain not in ("", "ai.onnx"):
            return UNFOLLOWED
        if node.op_type in _JOINING:
            return joined(inputs[_JOINING[node.op_type]])
        if node.op_type in _KEEPING:
            is_mask = node.op_type == "Cast" and attributes_of(node).get("to") == _BOOL
            return UNFOLLOWED if is_mask else inputs[0]
        return self._arithmetic(node, inputs)

    def _arithmetic(self, node: Node, inputs: list[Origins]) -> Origins:
        if node.op_type == "Neg":
            return scaled(inputs[0], -1)
        if node.op_type not in ("Add", "Sub", "Mul") or all(inputs):
            return UNFOLLOWED
        first, second = inputs
        bounds = _bounds(node.inputs[1 if first else 0])
        if bounds is None:
            return UNFOLLOWED
        low, high = bounds
        if node.op_type == "Add":
            return moved(first or second, low, high)
        if node.op_type == "Mul":
            return scaled(first or second, low) if low == high else UNFOLLOWED
        return moved(first, -high, -low) if first else moved(scaled(second, -1), low, high)

    def _reads_of(self, node: Node) -> Iterator[tuple[Origins, int]]:
        """Yield the origins of each index that a node reads, and the rows of its table."""
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "OneHot":
                depth = _bounds(node.inputs[1])
                if depth is not None:
                    yield self._of(node.inputs[0]), depth[0]
            elif node.op_type in ("GatherND", "ScatterND"):
                yield from self._many_dims(node)
            elif node.op_type in ("Gather", "GatherElements", "ScatterElements", "Scatter"):
                axis = attributes_of(node).get("axis", 0)
                yield from self._row(node, 1, 0, axis)
        elif node.domain == _MICROSOFT and node.op_type == "EmbedLayerNormalization":
            for index, table in ((0, 2), (1, 4), (8, 3)):
                yield from self._row(node, index, table, 0)

    def _row(self, node: Node, index: int, table: int, axis: Any) -> Iterator[tuple[Origins, int]]:
        if max(index, table) >= len(node.inputs):
            return
        dims = self._dims(node.inputs[table])
        if dims and -len(dims) <= axis < len(dims) and (size := dims[axis]) is not None:
            yield self._of(node.inputs[index]), size

    def _many_dims(self, node: Node) -> Iterator[tuple[Origins, int]]:
        """Yield the smallest dim of the table that an index of several dims reads."""
        first: Any = attributes_of(node).get("batch_dims", 0)
        dims, index = self._dims(node.inputs[0]), self._dims(node.inputs[1])
        if dims is None:
            return
        count = index[-1] if index else None
        indexed = dims[first:] if count is None else dims[first : first + count]
        sizes = [size for size in indexed if size is not None]
        if sizes and len(sizes) == len(indexed):
            yield self._of(node.inputs[1]), min(sizes)

    def _dims(self, value: Value | None) -> list[int | None] | None:
        kind = None if value is None else self._type_in(value)
        if kind is None or kind.dims is None:
            return None
        return [self._sizes.get(dim) if isinstance(dim, str) else dim for dim in kind.dims]


def _bounds(value: Value | None) -> tuple[int, int] | None:
    """Return the least and the greatest element of an integer-valued constant, else None."""
    while value is not None and value.producer is not None:
        node = value.producer
        if node.op_type == "Constant":
            return _constant_bounds(node)
        if node.op_type not in _SHAPING:
            return None
        value = node.inputs[0]
    if value is None or value.tensor is None:
        return None
    return _tensor_bounds(value.tensor)


def _constant_bounds(node: Node) -> tuple[int, int] | None:
    values = [number for number in attributes_of(node).values() if not isinstance(number, str)]
    for number in values:
        numbers = (number,) if isinstance(number, int) else number
        return (min(numbers), max(numbers)) if numbers else None
    return next((_tensor_bounds(tensor) for tensor in tensors_of(node)), None)


def _tensor_bounds(tensor: Tensor) -> tuple[int, int] | None:
    import onnx

    if tensor.external is not None or tensor.sparse or tensor.nbytes > _LONGEST_CONSTANT:
        return None
    elements = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(content_of(tensor.message)))
    if elements.size == 0 or elements.dtype.kind not in "iuf":
        return None
    low, high = elements.min().item(), elements.max().item()
    is_whole = elements.dtype.kind != "f" or bool((elements % 1 == 0).all())
    return (int(low), int(high)) if is_whole else None
