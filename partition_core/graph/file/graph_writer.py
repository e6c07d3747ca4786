"""Writes a graph as the pieces of an ONNX file, in the order of field numbers; weights stay ranges.

Equal graphs give equal pieces. Unchanged parts are written as they were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from partition_core.graph.file import graph_reader as at
from partition_core.graph.file.byte_range import Piece, content_of
from partition_core.graph.file.graph import Function, Graph, Model, Node, Value
from partition_core.graph.file.tensor import Tensor, read_tensor
from partition_core.graph.file.value_type import with_name
from partition_core.graph.file.wire import (
    changed,
    counted,
    fields,
    in_order,
    message,
    named,
    piece,
    sized,
    text,
    varint,
    written,
)

_NODE_TAG = bytes((at.NODES << 3 | 2,))
_DEVICES, _SHARDING, _TENSOR_NAME = 10, 2, 1
_SPARSE_PARTS = (1, 2)


class TensorWriter(Protocol):
    """Decides where the bytes of a tensor go."""

    def written(self, tensor: Tensor, name: str) -> list[Piece]:
        """Return the TensorProto of `tensor` under `name`."""


def write_model(model: Model, writer: TensorWriter) -> list[Piece]:
    """Return the pieces of the ModelProto of `model`, whose tensors `writer` writes."""
    parts: list[tuple[int, list[Piece]]] = [(at.IR_VERSION, [counted(1, model.ir_version)])]
    parts += [(key >> 3, written(key, value)) for key, value in model.rest]
    parts.append((at.GRAPH, message(at.GRAPH, write_graph(model.graph, writer))))
    parts += [(at.IMPORTS, [sized(at.IMPORTS, item)]) for item in _imports(model.opset_imports)]
    parts += [
        (at.FUNCTIONS, message(at.FUNCTIONS, _function(function, writer)))
        for function in model.functions.values()
    ]
    return in_order(parts)


def write_graph(graph: Graph, writer: TensorWriter) -> list[Piece]:
    """Return the pieces of the GraphProto of `graph`."""
    nodes: list[Piece] = []
    for node in graph.nodes:
        content = _node(node, writer)
        if isinstance(content, bytes):
            nodes.append(b"%b%b%b" % (_NODE_TAG, varint(len(content)), content))
        else:
            nodes += message(at.NODES, content)
    parts = [(at.NODES, nodes)]
    if graph.name:
        parts.append((at.GRAPH_NAME, [named(at.GRAPH_NAME, graph.name)]))
    parts += [_initializer(value, writer) for value in graph.initializers]
    parts += [(key >> 3, written(key, value)) for key, value in graph.rest]
    for value in graph.inputs:
        parts.append((at.INPUTS, [sized(at.INPUTS, _info(value))]))
    for value, info in zip(graph.outputs, graph.output_infos, strict=True):
        parts.append((at.OUTPUTS, [sized(at.OUTPUTS, _renamed(info, value.name))]))
    parts += [(at.INFOS, [sized(at.INFOS, info)]) for info in _infos(graph)]
    for annotation in graph.annotations:
        content = named(1, annotation.value.name)
        for key, value in annotation.parameters:
            content += sized(2, named(1, key) + named(2, value.name))
        parts.append((at.ANNOTATIONS, [sized(at.ANNOTATIONS, content)]))
    return in_order(parts)


def _initializer(value: Value, writer: TensorWriter) -> tuple[int, list[Piece]]:
    tensor = value.tensor
    if tensor is None:
        raise ValueError(f"'{value.name}' is not an initializer")
    if tensor.sparse:
        content = _sparse(tensor.message, value.name, writer)
        return at.SPARSE_INITIALIZERS, message(at.SPARSE_INITIALIZERS, content)
    return at.INITIALIZERS, message(at.INITIALIZERS, writer.written(tensor, value.name))


def _sparse(content: Piece, name: str | None, writer: TensorWriter) -> list[Piece]:
    pieces: list[Piece] = []
    for key, value in fields(content):
        if key >> 3 in _SPARSE_PARTS:
            tensor = read_tensor(piece(value))
            own_name = name if key >> 3 == 1 and name is not None else tensor.name
            pieces += message(key >> 3, writer.written(tensor, own_name))
        else:
            pieces += written(key, value)
    return pieces


def _infos(graph: Graph) -> Iterator[bytes]:
    outputs = set(graph.outputs)
    for value in graph.initializers:
        tensor = value.tensor
        if tensor is not None and not tensor.sparse and not value.is_input:
            yield _renamed(value.info or tensor.info, value.name)
    for node in graph.nodes:
        for value in node.outputs:
            if value.info and value not in outputs:
                yield _info(value)
    yield from (info for _, info in graph.other_infos)


def _info(value: Value) -> bytes:
    return _renamed(value.info, value.name)


def _renamed(info: bytes, name: str) -> bytes:
    start = named(1, name)
    return info if info.startswith(start) else with_name(info, name)


def _node(node: Node, writer: TensorWriter) -> bytes | list[Piece]:
    names = (*(v.name if v else "" for v in node.inputs), *(v.name for v in node.outputs))
    if names == node.written_names and not node.bodies and not node.external:
        return node.message if isinstance(node.message, bytes) else [node.message]
    count = len(node.inputs)
    parts: list[tuple[int, list[Piece]]] = [
        (at.NODE_INPUT if index < count else at.NODE_OUTPUT, [named(1 + (index >= count), name)])
        for index, name in enumerate(names)
    ]
    bodies = iter(node.bodies)
    renames = dict(zip(node.written_names, names, strict=False))
    for key, value in fields(node.message):
        kind = key >> 3
        if kind in (at.NODE_INPUT, at.NODE_OUTPUT):
            continue
        if kind == at.ATTRIBUTES and (node.bodies or node.external):
            parts.append((kind, message(kind, _attribute(piece(value), bodies, writer))))
        elif kind == _DEVICES:
            parts.append((kind, [sized(kind, _devices(content_of(piece(value)), renames))]))
        else:
            parts.append((kind, written(key, value)))
    return in_order(parts)


def _attribute(content: Piece, bodies: Iterator[Graph], writer: TensorWriter) -> list[Piece]:
    pieces: list[Piece] = []
    for key, value in fields(content):
        kind = key >> 3
        if kind in (at.BODY, at.BODIES):
            pieces += message(kind, write_graph(next(bodies), writer))
        elif kind in (at.TENSOR, at.TENSORS):
            tensor = read_tensor(piece(value))
            pieces += message(kind, writer.written(tensor, tensor.name))
        elif kind in (at.SPARSE, at.SPARSES):
            pieces += message(kind, _sparse(piece(value), None, writer))
        else:
            pieces += written(key, value)
    return pieces


def _devices(content: bytes, renames: Mapping[str, str]) -> bytes:
    def tensor(name: bytes) -> bytes:
        old = text(name)
        return renames.get(old, old).encode("utf-8", "surrogateescape")

    return changed(content, {_SHARDING: lambda spec: changed(spec, {_TENSOR_NAME: tensor})})


def _imports(imports: Mapping[str, int]) -> Iterable[bytes]:
    for domain, version in imports.items():
        yield named(1, domain) + counted(2, version)


def _function(function: Function, writer: TensorWriter) -> list[Piece]:
    holds_weights = any(node.external or node.bodies for node in function.graph)
    if function.message is not None and not holds_weights:
        return [function.message]
    parts = [(key >> 3, written(key, value)) for key, value in function.rest]
    for node in function.graph:
        content = _node(node, writer)
        pieces = [content] if isinstance(content, bytes) else content
        parts.append((at.FUNCTION_NODE, message(at.FUNCTION_NODE, pieces)))
    for item in _imports(function.opset_imports):
        parts.append((at.FUNCTION_IMPORTS, [sized(at.FUNCTION_IMPORTS, item)]))
    values = [*function.graph.inputs, *(v for node in function.graph for v in node.outputs)]
    for value in values:
        if value.info:
            parts.append((at.FUNCTION_INFOS, [sized(at.FUNCTION_INFOS, _info(value))]))
    return in_order(parts)
