"""Computes how the segments fit together, as plain values; must not build graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from partition_core.chain.pieces import MODEL_INPUT, MODEL_OUTPUT, Edge, SegmentBoundary, Tensor
from partition_core.graph.boundary import Boundary
from partition_core.graph.cut import cut
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.marks import live_nodes, unmarked_value
from partition_core.graph.scope import Scope, scopes_of
from partition_core.recipe.values import Segment


@dataclass(frozen=True)
class Coverage:
    """Which nodes of the end2end model run in which segments.

    Only nodes of its main graph that depend on an input count, without Mark nodes; a node without
    a name is named after its first output.
    `uncovered` and `shared` are in graph order; `counts` holds a pair for each segment.
    """

    nodes: int
    uncovered: tuple[str, ...]
    shared: tuple[tuple[str, tuple[str, ...]], ...]
    counts: tuple[tuple[str, int], ...]


def boundaries(model: Model, segments: Sequence[Segment]) -> tuple[SegmentBoundary, ...]:
    """Return the boundary of every segment; raises CutError with the problems of all segments."""
    return tuple(
        SegmentBoundary(
            scope.segment.save_file,
            tuple(_plain(item) for item in scope.inputs),
            tuple(_plain(item) for item in scope.outputs),
        )
        for scope in _scopes(model, segments)
    )


def edges(model: Model, segments: Sequence[Segment]) -> tuple[Edge, ...]:
    """Return every edge between segments, in their order, and from and to the end2end model.

    Tensors are matched by identity, not by name; a segment takes each from the earliest segment
    before it that outputs it. Raises CutError with the problems of all segments.
    """
    producers: dict[Value, tuple[str, str]] = {
        value: (MODEL_INPUT, value.name or "") for value in model.graph.inputs
    }
    result: list[Edge] = []
    suppliers: dict[Value, tuple[str, Boundary]] = {}
    for scope in _scopes(model, segments):
        for item in scope.inputs:
            producer = producers.get(item.value, ("", ""))
            result.append(_edge(producer, (scope.segment.save_file, item.name), item))
        for item in scope.outputs:
            producers.setdefault(item.value, (scope.segment.save_file, item.name))
            suppliers.setdefault(item.value, (scope.segment.save_file, item))
    for value in model.graph.outputs:
        if (supplier := suppliers.get(unmarked_value(value))) is not None:
            file, item = supplier
            result.append(_edge((file, item.name), (MODEL_OUTPUT, value.name or ""), item))
    return tuple(result)


def coverage(model: Model, segments: Sequence[Segment]) -> Coverage:
    """Return which nodes of `model` the segments cover; raises CutError as `edges` does."""
    files: dict[Node, list[str]] = {node: [] for node in live_nodes(model.graph)}
    for scope in _scopes(model, segments):
        for node in scope.walk.nodes:
            if node in files:
                files[node].append(scope.segment.save_file)
    return Coverage(
        nodes=len(files),
        uncovered=tuple(_name(node) for node, by in files.items() if not by),
        shared=tuple((_name(node), tuple(by)) for node, by in files.items() if len(by) > 1),
        counts=tuple(
            (segment.save_file, sum(segment.save_file in by for by in files.values()))
            for segment in segments
        ),
    )


def _scopes(model: Model, segments: Sequence[Segment]) -> list[Scope]:
    """Return the scopes of segments, with the sizes that inference finds where inputs are fixed."""
    scopes = scopes_of(model, segments)
    return [_inferred(model, scope) if scope.segment.inputs else scope for scope in scopes]


def _inferred(model: Model, scope: Scope) -> Scope:
    made = cut(model, scope.segment, "").graph.outputs
    outputs = [
        replace(item, dims=value.type.dims)
        if value.type is not None and value.type.dims is not None
        else item
        for item, value in zip(scope.outputs, made, strict=True)
    ]
    return replace(scope, outputs=tuple(outputs))


def _name(node: Node) -> str:
    return node.name or node.outputs[0].name or ""


def _plain(item: Boundary) -> Tensor:
    dims = tuple(dim for dim in item.dims if dim is not None)
    return Tensor(item.name, item.text, dims, str(item.tensor))


def _edge(producer: tuple[str, str], consumer: tuple[str, str], item: Boundary) -> Edge:
    plain = _plain(item)
    return Edge(*producer, *consumer, dtype=plain.dtype, dims=plain.dims)
