"""Walks an ONNX graph backwards, through captured values too; must not import marks or recipes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class Walk:
    """What values need: all in the parent's order.

    `inputs` are the needed values that no node makes, no initializer holds and no start gives.
    `met` are the starts that were needed.
    """

    nodes: tuple[ir.Node, ...]
    initializers: tuple[ir.Value, ...]
    inputs: tuple[ir.Value, ...]
    met: frozenset[ir.Value]


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """Yield the graphs that are attributes of `node`: branches of If, bodies of Loop and Scan."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def nodes_within(node: ir.Node) -> Iterator[ir.Node]:
    """Yield every node of the bodies of `node`, at any depth; not `node` itself."""
    for body in bodies(node):
        for inner in body:
            yield inner
            yield from nodes_within(inner)


def reads(node: ir.Node) -> Iterator[ir.Value]:
    """Yield every value of the node's own graph, or one around it, that running `node` reads."""
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        yield from _captured(body)


def walk_back(graph: ir.Graph, starts: Collection[ir.Value], ends: Iterable[ir.Value]) -> Walk:
    """Return what `ends` need when `starts` are given: nothing behind a start is followed."""
    barrier = frozenset(starts)
    seen: dict[ir.Value, None] = {}
    needed: set[ir.Node] = set()
    pending = list(ends)
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen[value] = None
        node = value.producer()
        if value in barrier or node is None or node in needed:
            continue
        needed.add(node)
        pending.extend(reads(node))
    free = [v for v in seen if v not in barrier and v.producer() is None and not v.is_initializer()]
    position = {value: index for index, value in enumerate(graph.inputs)}
    return Walk(
        nodes=tuple(node for node in graph if node in needed),
        initializers=tuple(
            v for v in graph.initializers.values() if v in seen and v not in barrier
        ),
        inputs=tuple(sorted(free, key=lambda value: position.get(value, len(position)))),
        met=frozenset(value for value in barrier if value in seen),
    )


def dependents(
    nodes: Iterable[ir.Node], sources: Iterable[ir.Value], barrier: Collection[ir.Value] = ()
) -> set[ir.Value]:
    """Return `sources` and every value made from them by `nodes`, without those in `barrier`."""
    values = set(sources)
    for node in nodes:
        if any(value in values for value in reads(node)):
            values.update(value for value in node.outputs if value not in barrier)
    return values


def _captured(body: ir.Graph) -> Iterator[ir.Value]:
    # A value that is an output of a body says that the body is its graph, even when an outer
    # node makes it; so what the body owns is listed instead of asking each value.
    own = {*body.inputs, *body.initializers.values()}
    own.update(value for node in body for value in node.outputs)
    for node in body:
        yield from (value for value in reads(node) if value not in own)
    yield from (value for value in body.outputs if value not in own)
