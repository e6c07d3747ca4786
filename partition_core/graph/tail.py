"""Finds where the post-processing of a model begins: behind its last operators with weights.

The tail is every node from which no operator with weights is reached; the network is the rest. So
no value goes from the tail back to the network, and each node is in one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from partition_core.graph.constants import Constants
from partition_core.graph.file.graph import Graph, Node, Value
from partition_core.graph.learned import Operators, belongs_to_layer
from partition_core.graph.marks import is_mark, readers_of, unmarked_reads, unmarked_value
from partition_core.graph.walk import reads

_ARRANGING = frozenset(
    ("Concat", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
)
"""Operators that join and arrange numbers and compute none."""
_SIZES = frozenset(("Shape", "Size"))


@dataclass(frozen=True)
class Tail:
    """What lies behind the values `heads`, which the network gives, in graph order.

    `inputs` are the inputs of the model that the network reads, `others` those that the tail reads
    besides `heads`, for their elements; `outputs` are the outputs of the model that the tail makes.
    """

    heads: tuple[Value, ...]
    inputs: tuple[Value, ...]
    others: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: frozenset[Node]


def tail_of(
    graph: Graph, operators: Operators, constants: Constants, is_joined: bool = False
) -> Tail:
    """Return what lies behind the last operators with weights of `graph`, in linear time.

    If `is_joined`, heads that the model itself only arranges and concatenates are the fewer
    values that this gives. The nodes must be in order.
    """
    network = before(graph, operators.learned)
    _add_layers(graph, constants, operators.learned, network)
    _add_sizes(graph, constants, network)
    if is_joined:
        _add_joins(graph, constants, network)
    return between(graph, constants, network)


def before(graph: Graph, nodes: Collection[Node]) -> set[Node]:
    """Return `nodes` and all that lead to one of them, of a graph whose nodes are in order."""
    needed: set[Value] = set()
    result: set[Node] = set()
    for node in reversed(graph.nodes):
        if node in nodes or any(value in needed for value in node.outputs):
            result.add(node)
            needed.update(reads(node))
    return result


def _add_layers(
    graph: Graph, constants: Constants, learned: Iterable[Node], network: set[Node]
) -> None:
    """Add what belongs to the layer of an operator with weights: bias, activation, SiLU."""
    layers = set(learned)
    readers = readers_of(graph)
    gates: dict[Value, Node] = {}
    for node in graph:
        if node in network or is_mark(node):
            continue
        data = [value for value in unmarked_reads(node) if value not in constants]
        if len(set(data)) == 1 and readers[data[0]] == [node]:
            if belongs_to_layer(node, constants, layers):
                layers.add(node)
                network.add(node)
        elif len(set(data)) == 1 and node.op_type == "Sigmoid" and data[0].producer in layers:
            gates[node.outputs[0]] = node
        elif gate := next((gates[value] for value in data if value in gates), None):
            # x · sigmoid(x), which exporters write for SiLU.
            (gated,) = unmarked_reads(gate)
            is_silu = node.op_type == "Mul" and set(data) == {gated, gate.outputs[0]}
            if is_silu and set(readers[gated]) == {gate, node}:
                layers.add(node)
                network.update((gate, node))


def _add_sizes(graph: Graph, constants: Constants, network: set[Node]) -> None:
    """Add what reads only the size of a value that would cross for nothing else."""
    sizes = [node for node in graph if node not in network and _is_size(node)]
    crossing = {
        value
        for node in graph
        if not (node in network or _is_size(node) or is_mark(node))
        for value in unmarked_reads(node)
    }
    for node in sizes:
        value = None if node.inputs[0] is None else unmarked_value(node.inputs[0])
        if value is None or value in crossing or value in constants:
            continue
        if value.producer in network:
            network.add(node)


def _add_joins(graph: Graph, constants: Constants, network: set[Node]) -> None:
    """Add what arranges and joins the heads, if fewer values cross then."""
    joined = set(network)
    made = {value for node in network for value in node.outputs}
    for node in graph:
        if node in joined:
            continue
        data = [value for value in reads(node) if value not in constants]
        arranges = is_mark(node) or (not node.domain and node.op_type in _ARRANGING)
        if data and arranges and all(value in made for value in data):
            joined.add(node)
            made.update(node.outputs)
    _remove_last_arranging(graph, constants, network, joined)
    one_by_one = between(graph, constants, network).heads
    if len(between(graph, constants, joined).heads) < len(one_by_one):
        network |= joined


def _remove_last_arranging(
    graph: Graph, constants: Constants, network: set[Node], joined: set[Node]
) -> None:
    """Remove from `joined` the nodes at its end that join nothing."""
    outputs = set(graph.outputs)
    readers = readers_of(graph)
    for node in reversed(graph.nodes):
        if node not in joined or node in network or node.op_type == "Concat":
            continue
        is_last = not any(r in joined for v in node.outputs for r in readers.get(v, ()))
        if is_last and (is_mark(node) or not any(v in outputs for v in node.outputs)):
            joined.remove(node)


def between(graph: Graph, constants: Constants, network: Collection[Node]) -> Tail:
    """Return what lies behind the nodes `network` of a graph, to which nothing of it leads back."""
    heads: set[Value] = set()
    others: set[Value] = set()
    inputs: set[Value] = set()
    tail = [node for node in graph if node not in network and not is_mark(node)]
    for node in tail:
        for value in unmarked_reads(node):
            if value.producer in network and value not in constants:
                heads.add(value)
            elif value.producer is None and value not in constants and not _is_size(node):
                others.add(value)
    made_by_tail = {value for node in tail for value in node.outputs}
    for value in map(unmarked_value, graph.outputs):
        if value.producer in network:
            heads.add(value)
    for node in network:
        for value in reads(node):
            if value.producer is None and value not in constants:
                inputs.add(value)
    return Tail(
        heads=tuple(value for node in graph for value in node.outputs if value in heads),
        inputs=tuple(value for value in graph.inputs if value in inputs),
        others=tuple(value for value in graph.inputs if value in others),
        outputs=tuple(
            value for value in dict.fromkeys(graph.outputs) if unmarked_value(value) in made_by_tail
        ),
        nodes=frozenset(tail),
    )


def _is_size(node: Node) -> bool:
    return node.op_type in _SIZES and not node.domain
