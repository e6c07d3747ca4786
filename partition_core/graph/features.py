"""Finds the features of a dense detector: the tensors that several heads of one scale share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from partition_core.graph.constants import Constants
from partition_core.graph.file.attributes import attributes_of
from partition_core.graph.file.graph import Graph, Node, Value
from partition_core.graph.marks import readers_of, unmarked_reads, unmarked_value

_SPATIAL = frozenset(("Conv", "ConvInteger", "ConvTranspose", "DeformConv", "QLinearConv"))


@dataclass(frozen=True)
class _Branch:
    # The nodes between a value and some heads that read nothing else.
    start: Value
    nodes: frozenset[Node]
    heads: frozenset[Value]


def features_of(
    graph: Graph, heads: Collection[Value], learned: Collection[Node], constants: Constants
) -> list[Value]:
    """Return the tensors, in graph order, at which the branches that end at `heads` begin.

    From each head the walk goes back as long as a node leads to nothing but the branch, on maps of
    one size; branches that start at one value are one branch, and go on from there. A feature is
    where branches met last. The list is empty where a head has no such place, or a branch no
    convolution: the rule knows towers of convolutions on maps.
    """
    outputs = {unmarked_value(value) for value in graph.outputs}
    walk = _Walk(readers_of(graph), outputs - set(heads), constants)
    branches = [walk.back(_Branch(head, frozenset(), frozenset([head]))) for head in heads]
    met: dict[frozenset[Value], _Branch] = {}
    while groups := _meetings(branches):
        for group in groups:
            start = group[0].start
            branch = _Branch(
                start,
                frozenset().union(*(each.nodes for each in group)),
                frozenset().union(*(each.heads for each in group)),
            )
            met = {known: each for known, each in met.items() if not known <= branch.heads}
            met[branch.heads] = branch
            branches = [each for each in branches if each not in group]
            branches.append(walk.back(branch))
    if frozenset().union(*met) != frozenset(heads) or not all(
        _is_tower(branch, learned) for branch in met.values()
    ):
        return []
    starts = {branch.start for branch in met.values()}
    return [value for node in graph for value in node.outputs if value in starts]


def _meetings(branches: list[_Branch]) -> list[list[_Branch]]:
    """Return the branches that start at one value, where these are several."""
    by_start: dict[Value, list[_Branch]] = {}
    for branch in branches:
        by_start.setdefault(branch.start, []).append(branch)
    return [group for group in by_start.values() if len(group) > 1]


def _is_tower(branch: _Branch, learned: Collection[Node]) -> bool:
    kinds = {node.op_type for node in branch.nodes if node in learned}
    return bool(kinds & _SPATIAL) and not kinds & {"MatMul", "Gemm", "Einsum", "MatMulInteger"}


@dataclass(frozen=True)
class _Walk:
    readers: Mapping[Value, list[Node]]
    outputs: Collection[Value]
    constants: Constants

    def back(self, branch: _Branch) -> _Branch:
        """Return a branch with all nodes before it that lead to nothing else."""
        value, nodes = branch.start, set(branch.nodes)
        while (node := value.producer) is not None and value not in self.outputs:
            read_elsewhere = any(reader not in nodes for reader in self.readers.get(value, ()))
            if read_elsewhere and (nodes or value not in branch.heads):
                break
            data = self._data(node)
            if data is None or _makes_smaller(node):
                break
            nodes |= data[1]
            value = data[0]
        return _Branch(value, frozenset(nodes), branch.heads)

    def _data(self, node: Node) -> tuple[Value, set[Node]] | None:
        """Return the one value that a node reads, and the node; of x · sigmoid(x) it is x."""
        read = {v for v in unmarked_reads(node) if v not in self.constants}
        if len(read) == 1:
            return read.pop(), {node}
        gates = {
            value: value.producer
            for value in read
            if value.producer is not None and value.producer.op_type in ("Sigmoid", "HardSigmoid")
        }
        for gated, gate in gates.items():
            rest = read - {gated}
            if len(rest) == 1 and set(unmarked_reads(gate)) == rest:
                return rest.pop(), {node, gate}
        return None


def _makes_smaller(node: Node) -> bool:
    """Return whether a node leads to the next scale."""
    strides = attributes_of(node).get("strides", ())
    is_strided = isinstance(strides, tuple) and any(stride > 1 for stride in strides)
    return is_strided and node.op_type != "ConvTranspose"
