"""An ONNX model of float32 that computes in float16 where that is enough."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from partition_core.trace.float16_values import (
    captured,
    constant,
    float16_values,
    is_float,
    takes_float16,
)

_NAMES = {ir.DataType.FLOAT: "float32", ir.DataType.FLOAT16: "float16"}


def to_float16(model: ir.Model, keep_io_types: bool) -> None:
    """Let `model` compute in float16 (`float16_values`), its weights there being float16 too.

    The names of inputs and outputs stay, and so do those of weights. A weight that is read in both
    dtypes is stored twice.
    """
    graph = model.graph
    halves = float16_values(graph, keep_io_types)
    outputs = [value for value in graph.outputs if is_float(value)]
    readers = [
        (node, position, value, ir.DataType.FLOAT16 if is_half else ir.DataType.FLOAT)
        for node in graph
        for position, (value, is_half) in enumerate(
            zip(node.inputs, _in_float16(node, halves, graph.opset_imports[""]), strict=True)
        )
        if value is not None and is_float(value)
    ]
    readers += [
        (inner, position, value, ir.DataType.FLOAT)
        for node in graph
        for inner, position, value in captured(node)
        if value in halves
    ]
    for value in halves:
        value.dtype = ir.DataType.FLOAT16
    casts = _Casts(graph)
    for node, position, value, dtype in readers:
        if value.dtype != dtype:
            node.replace_input_with(position, casts.of(value, dtype))
    casts.rename_weights()
    for value in outputs:
        casts.end(value, ir.DataType.FLOAT if keep_io_types else ir.DataType.FLOAT16)


def _in_float16(node: ir.Node, halves: set[ir.Value], version: int) -> list[bool]:
    """Return for each input of a node whether it is to be float16 if it is a float."""
    if halves.isdisjoint(node.outputs):
        return [False] * len(node.inputs)
    return takes_float16(node, version)


class _Casts:
    """Values of a graph cast to another dtype, each once, behind the node that makes the value."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._casts: dict[ir.Value, ir.Value] = {}
        self._names = {value.name for node in graph.all_nodes() for value in node.outputs}
        self._names |= {value.name for value in graph.inputs} | set(graph.initializers)

    def of(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Return `value` in the dtype that it does not have."""
        if value not in self._casts:
            tensor = constant(value)
            self._casts[value] = (
                self._cast(value, dtype) if tensor is None else self._weight(value, tensor)
            )
        return self._casts[value]

    def end(self, output: ir.Value, dtype: ir.DataType) -> None:
        """Give an output of the graph this dtype, and let it keep its name."""
        if output.dtype == dtype:
            return
        cast = self._cast(output, dtype)
        cast.name, output.name = output.name, cast.name
        position = next(k for k, value in enumerate(self._graph.outputs) if value is output)
        self._graph.outputs[position] = cast

    def rename_weights(self) -> None:
        """Remove weights that nothing reads any more, and give their names to the new ones."""
        initializers = self._graph.initializers
        for value, cast in self._casts.items():
            if constant(cast) is not None and not value.uses():
                name = value.name
                initializers.pop(str(name))
                cast.name = name

    def _fresh(self, value: ir.Value, dtype: ir.DataType) -> str:
        name = f"{value.name}_{_NAMES[dtype]}"
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def _weight(self, value: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
        name = self._fresh(value, ir.DataType.FLOAT16)
        with np.errstate(over="ignore"):  # infinities stay, and no other value is too large
            half = ir.tensor(tensor.numpy().astype(np.float16), name=name)
        weight = ir.Value(
            name=name,
            type=ir.TensorType(ir.DataType.FLOAT16),
            shape=value.shape,
            const_value=half,
        )
        self._graph.register_initializer(weight)
        return weight

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        name = self._fresh(value, dtype)
        result = ir.Value(name=name, type=ir.TensorType(dtype), shape=value.shape)
        producer = value.producer()
        cast = ir.node(
            "Cast",
            [value],
            attributes={"to": int(dtype)},
            outputs=[result],
            name=f"node_{name}",
            metadata_props=dict(producer.metadata_props) if producer else None,
        )
        if producer is None:
            self._graph.insert_before(self._graph[0], cast)
        else:
            self._graph.insert_after(producer, cast)
        return result
