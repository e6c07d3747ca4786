"""Writes slices of maps that skip elements in operators that ncnn has: its Crop skips none."""

from __future__ import annotations

from collections.abc import Iterator

from partition_core.graph.file import graph_reader as at
from partition_core.graph.file.attributes import INTS, IS_INTS, NAME, TYPE
from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.file.tensor import Folder, tensor_fields
from partition_core.graph.file.wire import counted, integers, named, sized

_RANK, _SIDES = 4, (2, 3)
_INT64, _INT64_DATA, _SIZE = 7, 7, 8


def without_strides(model: Model) -> None:
    """Put a MaxPool of one element with the strides behind each Slice of a map that has some.

    The largest of one element is the element, so the values stay the same. Slices of other
    tensors, which no recipe of ncnn fits, stay as they are.
    """
    graph = model.graph
    graph.nodes = [each for node in graph for each in _without(node, model.folder)]


def _without(node: Node, folder: Folder) -> Iterator[Node]:
    strides = _strides(node, folder)
    yield node
    if strides is None:
        return
    out, crop = node.outputs[0], Value("crop", producer=node)
    node.inputs, node.outputs = node.inputs[:-1], [crop]
    message = named(at.OP_TYPE, "MaxPool")
    message += _integers_attribute("kernel_shape", (1, 1)) + _integers_attribute("strides", strides)
    out.producer = Node(message, "", "MaxPool", "", "", [crop], [out], written_names=())
    yield out.producer


def _strides(node: Node, folder: Folder) -> tuple[int, int] | None:
    """Return the steps of a Slice of a map in its rows and columns; None if none is skipped."""
    if node.op_type != "Slice" or node.domain or len(node.inputs) != 5:
        return None
    axes, steps = (_elements(value, folder) for value in node.inputs[3:])
    kind = node.outputs[0].type
    if not axes or not steps or kind is None or len(kind.dims or ()) != _RANK:
        return None
    by_axis = {axis % _RANK: step for axis, step in zip(axes, steps, strict=True) if step != 1}
    if kind.text != "float32" or not by_axis or not by_axis.keys() <= set(_SIDES):
        return None
    rows, columns = (by_axis.get(side, 1) for side in _SIDES)
    return (rows, columns) if min(rows, columns) > 0 else None


def _elements(value: Value | None, folder: Folder) -> list[int]:
    """Return the elements of an int64 initializer, none if it is something else."""
    tensor = value.tensor if value is not None else None
    if tensor is None or tensor.dtype != _INT64 or tensor.sparse:
        return []
    content = folder.bytes_of(tensor) if tensor.external else tensor.raw
    if content is None:
        return integers(tensor_fields(tensor.message), _INT64_DATA)
    data = content_of(content)
    return [
        int.from_bytes(data[start : start + _SIZE], "little", signed=True)
        for start in range(0, len(data), _SIZE)
    ]


def _integers_attribute(name: str, numbers: tuple[int, ...]) -> bytes:
    content = b"".join(counted(INTS, number) for number in numbers)
    return sized(at.ATTRIBUTES, named(NAME, name) + content + counted(TYPE, IS_INTS))
