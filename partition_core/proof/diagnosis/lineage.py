"""The tensors of a graph that can be compared, each with what it is computed from. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_

from partition_core.graph.file.graph import Graph, Node, Value
from partition_core.graph.marks import live_nodes
from partition_core.graph.walk import reads

Bits = int
"""A set of tensors: bit `i` is the tensor with index `i`."""


@dataclass(frozen=True)
class Lineage:
    """Tensors in the order of a graph: those that depend on an input and can be compared.

    `ancestors[i]` are tensor `i` and all that it is computed from, `parents[i]` the nearest of the
    others. `regions[i]` are the nodes between those and the tensor, in the order of the graph: its
    node, and those that make what cannot be compared. `nodes` are all that depend on an input.
    """

    nodes: tuple[Node, ...]
    values: tuple[Value, ...]
    ancestors: tuple[Bits, ...]
    parents: tuple[Bits, ...]
    regions: tuple[tuple[Node, ...], ...]

    def index(self, value: Value) -> int:
        """Return the index of a tensor."""
        return self.values.index(value)

    def node(self, index: int) -> Node:
        """Return the node that makes a tensor."""
        return self.regions[index][-1]

    def region(self, index: int, hidden: Bits) -> tuple[tuple[Node, ...], Bits]:
        """Return the region and the parents of a tensor if those in `hidden` cannot be compared."""
        nodes: dict[Node, None] = {}
        parents, pending, seen = 0, 1 << index, 0
        while new := pending & ~seen:
            seen |= new
            pending = 0
            for each in members(new):
                nodes.update(dict.fromkeys(self.regions[each]))
                pending |= self.parents[each] & hidden
                parents |= self.parents[each] & ~hidden
        order = {node: number for number, node in enumerate(self.nodes)}
        return tuple(sorted(nodes, key=order.__getitem__)), parents


@dataclass(frozen=True)
class _Above:
    # The nearest tensors that can be compared, and the nodes behind them.
    nearest: Bits = 0
    nodes: frozenset[Node] = frozenset()

    def __or__(self, other: _Above) -> _Above:
        return _Above(self.nearest | other.nearest, self.nodes | other.nodes)


def lineage_of(graph: Graph, can_compare: Callable[[Value], bool]) -> Lineage:
    """Return the lineage of a graph whose nodes are in order; `can_compare` chooses its tensors."""
    live = live_nodes(graph)
    position = {node: number for number, node in enumerate(live)}
    above: dict[Value, _Above] = {}
    values: list[Value] = []
    ancestors: list[Bits] = []
    parents: list[Bits] = []
    regions: list[tuple[Node, ...]] = []
    for node in live:
        own = reduce(or_, (above.get(value, _Above()) for value in reads(node)), _Above())
        own |= _Above(0, frozenset([node]))
        for value in node.outputs:
            above[value] = own
            if not (value.name and can_compare(value)):
                continue
            above[value] = _Above(1 << len(values))
            ancestors.append(
                reduce(or_, (ancestors[i] for i in members(own.nearest)), above[value].nearest)
            )
            parents.append(own.nearest)
            regions.append(tuple(sorted(own.nodes, key=position.__getitem__)))
            values.append(value)
    return Lineage(tuple(live), tuple(values), tuple(ancestors), tuple(parents), tuple(regions))


def members(bits: Bits) -> Iterator[int]:
    """Yield the indices in a set, in order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def bits_of(indices: Iterable[int]) -> Bits:
    """Return the set of some indices."""
    return reduce(or_, (1 << index for index in indices), 0)
