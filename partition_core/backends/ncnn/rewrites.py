"""Writes what pnnx does not recognize in operators that it does; the values stay the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from partition_core.graph.file import graph_reader as at
from partition_core.graph.file.attributes import INTS, IS_INTS, NAME, TYPE
from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.file.tensor import DIMS, DTYPE, RAW, Folder, read_tensor, tensor_fields
from partition_core.graph.file.wire import counted, integers, named, sized

_RANK, _SIDES = 4, (2, 3)
_INT64, _INT64_DATA, _SIZE = 7, 7, 8


def rewrite(model: Model) -> None:
    """Rewrite the nodes of the main graph of `model` in place."""
    graph = model.graph
    shapes: dict[tuple[int, ...], Value] = {}
    for node in graph:
        _infer_size_of_groups(node, model.folder, shapes)
    graph.initializers += shapes.values()
    graph.nodes = [each for node in graph for each in _without_strides(node, model.folder)]


def _infer_size_of_groups(node: Node, folder: Folder, shapes: dict[tuple[int, ...], Value]) -> None:
    """Let the Reshape in front of an InstanceNormalization infer its last size.

    pnnx takes the two for a group norm only then. ncnn has that, and no instance norm of three
    dims. `shapes` are initializers by their elements.
    """
    reshape = node.inputs[0].producer if node.inputs and node.inputs[0] else None
    if node.op_type != "InstanceNormalization" or reshape is None or reshape.op_type != "Reshape":
        return
    wanted = _elements(reshape.inputs[1], folder)
    if len(wanted) != 3 or wanted[0] != 0:
        return
    elements = (*wanted[:2], -1)
    reshape.inputs[1] = shapes.setdefault(elements, _initializer("shape", elements))


def _without_strides(node: Node, folder: Folder) -> Iterator[Node]:
    """Yield a node; a Slice of a map without the strides, and a MaxPool of one element with them.

    ncnn's Crop has none. The largest of one element is the element.
    """
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


def _initializer(name: str, elements: Sequence[int]) -> Value:
    data = b"".join(element.to_bytes(_SIZE, "little", signed=True) for element in elements)
    message = counted(DIMS, len(elements)) + counted(DTYPE, _INT64) + sized(RAW, data)
    return Value(name, tensor=read_tensor(message))


def _integers_attribute(name: str, numbers: tuple[int, ...]) -> bytes:
    content = b"".join(counted(INTS, number) for number in numbers)
    return sized(at.ATTRIBUTES, named(NAME, name) + content + counted(TYPE, IS_INTS))
