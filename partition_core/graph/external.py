"""Finds the tensors of a model that are in other files; must not touch disk itself."""

from __future__ import annotations

from collections.abc import Iterator

from partition_core.base.errors import CutError, Problem
from partition_core.graph.file.byte_range import Piece
from partition_core.graph.file.graph import Graph, Model, Node
from partition_core.graph.file.graph_reader import (
    ATTRIBUTES,
    SPARSE,
    SPARSES,
    TENSOR,
    TENSORS,
)
from partition_core.graph.file.tensor import Tensor, read_tensor
from partition_core.graph.file.wire import fields, piece
from partition_core.graph.walk import all_nodes

_OF_SPARSE = (1, 2)


def external_tensors(model: Model) -> list[Tensor]:
    """Return every tensor of `model` with external data, those of bodies and functions too."""
    graphs = [model.graph, *(function.graph for function in model.functions.values())]
    return [tensor for graph in graphs for tensor in _tensors(graph) if tensor.external]


def locations(model: Model) -> list[str]:
    """Return the files, relative to the model's folder, that hold weights of `model`, sorted."""
    externals = (tensor.external for tensor in external_tensors(model))
    return sorted({external.location for external in externals if external is not None})


def check_external_data(model: Model) -> None:
    """Raise CutError with a problem for each file with external data that is missing or invalid."""
    problems: dict[str, Problem] = {}
    for tensor in external_tensors(model):
        try:
            model.folder.bytes_of(tensor)
        except CutError as error:
            location = tensor.external.location if tensor.external else ""
            problems.setdefault(location, error.problems[0])
    CutError.refuse(problems.values())


def _tensors(graph: Graph) -> Iterator[Tensor]:
    yield from _weights(graph)
    for node in all_nodes(graph):
        for body in node.bodies:
            yield from _weights(body)
        if node.external:
            yield from _in_attributes(node)


def _weights(graph: Graph) -> Iterator[Tensor]:
    for value in graph.initializers:
        if value.tensor is not None and value.tensor.sparse:
            yield from _in_sparse(value.tensor.message)
        elif value.tensor is not None:
            yield value.tensor


def _in_attributes(node: Node) -> Iterator[Tensor]:
    for key, message in fields(node.message):
        if key >> 3 != ATTRIBUTES:
            continue
        for inner, content in fields(piece(message)):
            if inner >> 3 in (TENSOR, TENSORS):
                yield read_tensor(piece(content))
            elif inner >> 3 in (SPARSE, SPARSES):
                yield from _in_sparse(piece(content))


def _in_sparse(message: Piece) -> Iterator[Tensor]:
    for key, content in fields(message):
        if key >> 3 in _OF_SPARSE:
            yield read_tensor(piece(content))
