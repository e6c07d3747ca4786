"""Finds the values of a graph that no input changes, and reads the elements of small ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from partition_core.graph.file.attributes import attributes_of, tensors_of
from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Graph, Model, Node, Value
from partition_core.graph.file.tensor import Folder, Tensor
from partition_core.graph.file.value_type import DTYPES
from partition_core.graph.walk import reads

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEEPS_ELEMENTS = frozenset(
    ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
)
_KEEPS_DIMS = frozenset(("Cast", "DequantizeLinear", "Identity", "QuantizeLinear"))
_RANDOM = frozenset(("RandomNormal", "RandomUniform"))
_LARGEST = 1 << 16


class Constants:
    """The constant values of a graph: initializers, and what is computed from nothing else."""

    def __init__(
        self,
        folder: Folder,
        graph: Graph,
        around: Constants | None = None,
        same: Mapping[Value, Value] = MappingProxyType({}),
    ) -> None:
        self._folder, self._around, self._same = folder, around, same
        self._values = {*same, *graph.initializers}
        for node in graph:
            if node.op_type not in _RANDOM and all(value in self for value in reads(node)):
                self._values.update(node.outputs)

    def __contains__(self, value: object) -> bool:
        return value in self._values or (self._around is not None and value in self._around)

    def inside(self, graph: Graph, arguments: Sequence[Value | None] = ()) -> Constants:
        """Return the constants of a body, or of a function that is called with `arguments`."""
        pairs = zip(graph.inputs, arguments, strict=False)
        same = {inner: outer for inner, outer in pairs if outer is not None and outer in self}
        return Constants(self._folder, graph, self, same)

    def dims(self, value: Value) -> tuple[int, ...] | None:
        """Return the dims of a constant, None if they are not in the file."""
        if (outer := self._argument(value)) is not None:
            return outer[0].dims(outer[1])
        if (tensor := _tensor(value)) is not None:
            return tensor.dims
        kind = value.type
        if kind is not None and kind.dims is not None:
            dims = [size for size in kind.dims if isinstance(size, int)]
            return tuple(dims) if len(dims) == len(kind.dims) else None
        source = _source(value, _KEEPS_DIMS)
        return None if source is None else self.dims(source)

    def elements(self, value: Value, most: int = _LARGEST) -> NDArray[Any] | None:
        """Return the elements of a constant in their order; None if they are more than `most`,
        computed, or not numbers."""
        if (outer := self._argument(value)) is not None:
            return outer[0].elements(outer[1], most)
        if (tensor := _tensor(value)) is not None:
            return _elements(tensor, self._folder) if math.prod(tensor.dims) <= most else None
        source = _source(value, _KEEPS_ELEMENTS)
        return _numbers(value.producer) if source is None else self.elements(source, most)

    def _argument(self, value: Value) -> tuple[Constants, Value] | None:
        """Return the argument that an input of a function has, and the constants it is one of."""
        scope: Constants | None = self
        while scope is not None:
            if value in scope._same and scope._around is not None:
                return scope._around, scope._same[value]
            scope = scope._around
        return None


def constants_of(model: Model) -> Constants:
    """Return the constants of the main graph of `model`."""
    return Constants(model.folder, model.graph)


def _tensor(value: Value) -> Tensor | None:
    if value.tensor is not None:
        return value.tensor
    maker = value.producer
    if maker is None or maker.domain or maker.op_type != "Constant":
        return None
    return next(iter(tensors_of(maker)), None)


def _source(value: Value, keeping: frozenset[str]) -> Value | None:
    """Return what the maker of a value reads first, if it is an operator of `keeping`."""
    maker = value.producer
    is_kept = maker is not None and not maker.domain and maker.op_type in keeping
    return maker.inputs[0] if maker is not None and is_kept else None


def _elements(tensor: Tensor, folder: Folder) -> NDArray[Any] | None:
    import numpy as np
    import onnx

    if tensor.sparse or DTYPES.get(tensor.dtype, "string") == "string":
        return None
    message = onnx.TensorProto.FromString(content_of(tensor.message))
    if tensor.external is not None:
        del message.external_data[:]
        message.data_location = onnx.TensorProto.DEFAULT
        message.raw_data = content_of(folder.bytes_of(tensor))
    return np.asarray(onnx.numpy_helper.to_array(message))


def _numbers(node: Node | None) -> NDArray[Any] | None:
    import numpy as np

    if node is None or node.op_type != "Constant" or node.domain:
        return None
    numbers = [value for value in attributes_of(node).values() if not isinstance(value, str)]
    return np.asarray(numbers[0]) if numbers else None
