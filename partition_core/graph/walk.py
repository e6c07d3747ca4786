"""Walks an ONNX graph backwards, through captured values too; must not import marks or recipes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from partition_core.graph.file.graph import Graph, Node, Value


@dataclass(frozen=True)
class Walk:
    """What values depend on, in the order of the graph.

    `inputs` are the needed values that are neither a node's output, an initializer nor a start.
    `substitutes` maps a node to the value that it reads as its first input.
    """

    nodes: tuple[Node, ...]
    initializers: tuple[Value, ...]
    inputs: tuple[Value, ...]
    needed_starts: frozenset[Value]
    substitutes: Mapping[Node, Value]


def nodes_within(node: Node) -> Iterator[Node]:
    """Yield every node of the bodies of `node`, at any depth; not `node` itself."""
    for body in node.bodies:
        for inner in body:
            yield inner
            yield from nodes_within(inner)


def all_nodes(graph: Graph) -> Iterator[Node]:
    """Yield every node of `graph`, each before those of its bodies."""
    for node in graph:
        yield node
        yield from nodes_within(node)


def reads(node: Node) -> Iterator[Value]:
    """Yield every value of the node's own graph, or one around it, that running `node` reads."""
    yield from (value for value in node.inputs if value is not None)
    for body in node.bodies:
        yield from _captured(body)


def walk_back(
    graph: Graph,
    starts: Collection[Value],
    ends: Iterable[Value],
    substitutes: Mapping[Node, Value] = MappingProxyType({}),
) -> Walk:
    """Return what `ends` depend on when `starts` are given: the walk stops at the starts.

    A node in `substitutes` reads that value and nothing else.
    """
    barrier = frozenset(starts)
    visited: dict[Value, None] = {}
    needed: set[Node] = set()
    pending = list(ends)
    while pending:
        value = pending.pop()
        if value in visited:
            continue
        visited[value] = None
        node = value.producer
        if value in barrier or node is None or node in needed:
            continue
        needed.add(node)
        pending.extend([substitutes[node]] if node in substitutes else reads(node))
    for annotation in graph.annotations:
        # The scale and zero point of a quantized value are needed with it, though no node reads.
        if annotation.value in visited or annotation.value.producer in needed:
            visited.update((value, None) for _, value in annotation.parameters if value.tensor)
    free = [v for v in visited if v not in barrier and v.producer is None and v.tensor is None]
    position = {value: index for index, value in enumerate(graph.inputs)}
    return Walk(
        nodes=tuple(node for node in graph if node in needed),
        initializers=tuple(v for v in graph.initializers if v in visited and v not in barrier),
        inputs=tuple(sorted(free, key=lambda value: position.get(value, len(position)))),
        needed_starts=frozenset(value for value in barrier if value in visited),
        substitutes=substitutes,
    )


def dependents(
    nodes: Iterable[Node], sources: Iterable[Value], barrier: Collection[Value] = ()
) -> set[Value]:
    """Return `sources` and every value made from them by `nodes`, without those in `barrier`."""
    values = set(sources)
    for node in nodes:
        if any(value in values for value in reads(node)):
            values.update(value for value in node.outputs if value not in barrier)
    return values


def live_values(graph: Graph) -> set[Value]:
    """Return the inputs of `graph` that a run needs, and every value that depends on one."""
    return dependents(graph, [value for value in graph.inputs if value.tensor is None])


def _captured(body: Graph) -> Iterator[Value]:
    # An output of a body may be an outer node's value, so the values that the body owns are listed
    # instead of asking each value for its graph.
    own = {*body.inputs, *body.initializers}
    own.update(value for node in body for value in node.outputs)
    for node in body:
        yield from (value for value in reads(node) if value not in own)
    yield from (value for value in body.outputs if value not in own)
