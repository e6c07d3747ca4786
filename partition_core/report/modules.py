"""Groups the nodes of a graph by the module that they come from; must not import segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from partition_core.graph.file.attributes import module_of
from partition_core.graph.file.graph import Node
from partition_core.graph.walk import reads

ModulePath = tuple[str, ...]
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Group:
    """Nodes of one region and one module, in graph order.

    `path` is the module without the prefix that all modules of the model share; empty for nodes
    that come from no module. If a module is `split` into its children, this is the rest of it.
    """

    path: ModulePath
    region: Hashable
    nodes: tuple[Node, ...]
    split: bool = False


def groups(regions: Mapping[Node, Hashable], limit: int, smallest: int) -> list[Group]:
    """Return all nodes of `regions` in groups, about `limit` of them, in graph order.

    Modules are split from the outside in, all the modules inside one module or none of them, as
    long as there are at most `limit` groups, and those to split have `smallest` nodes on average.
    No group has nodes of two regions.
    """
    paths = _paths(regions)
    best = [Group((), region, nodes) for region, nodes in _by(regions, regions.__getitem__).items()]
    visited: set[ModulePath] = set()
    while family := _next([g for g in best if g.path not in visited], paths, smallest):
        visited |= family
        for apart in (True, False):
            tried = [
                new
                for group in best
                for new in (_split(group, paths, apart) if group.path in family else [group])
            ]
            if len(tried) <= limit:
                best = tried
                break
    place = {node: index for index, node in enumerate(regions)}
    return sorted(best, key=lambda group: place[group.nodes[0]])


def _next(
    groups: Sequence[Group], paths: Mapping[Node, ModulePath], smallest: int
) -> set[ModulePath]:
    """Return the modules to split next: of the outermost ones, the family with most nodes.

    A family is the modules with the same parent; each outermost module is a family of its own,
    since people see these as the parts of a model.
    """
    families: dict[tuple[int, ModulePath], Counter[ModulePath]] = {}
    for group in groups:
        if not group.split and any(len(paths[node]) > len(group.path) for node in group.nodes):
            around = group.path if len(group.path) <= 1 else group.path[:-1]
            family = families.setdefault((len(group.path), around), Counter())
            family[group.path] += len(group.nodes)
    large = [key for key, sizes in families.items() if sizes.total() >= smallest * len(sizes)]
    chosen = min(large, key=lambda key: (key[0], -families[key].total(), key[1]), default=None)
    return set(families[chosen]) if chosen else set()


def _split(group: Group, paths: Mapping[Node, ModulePath], apart: bool) -> list[Group]:
    """Return the modules inside a group and the rest, split into connected parts if `apart`."""
    depth = len(group.path) + 1
    parts = _by(group.nodes, lambda node: paths[node][:depth])
    own = parts.pop(group.path, ())
    children = [Group(path, group.region, nodes) for path, nodes in parts.items()]
    between = _connected(own) if apart else [own] if own else []
    return [*children, *(Group(group.path, group.region, part, split=True) for part in between)]


def _connected(nodes: Sequence[Node]) -> list[tuple[Node, ...]]:
    """Return the connected groups of `nodes`, by the values between them only."""
    group_of: dict[Node, int] = {}
    members: dict[int, list[Node]] = {}
    for index, node in enumerate(nodes):
        near = {group_of[v.producer] for v in reads(node) if v.producer in group_of}
        into = min(near, default=index)
        for other in near - {into}:
            for moved in members.pop(other):
                group_of[moved] = into
                members[into].append(moved)
        group_of[node] = into
        members.setdefault(into, []).append(node)
    place = {node: index for index, node in enumerate(nodes)}
    return [tuple(sorted(group, key=place.__getitem__)) for group in members.values()]


def _paths(nodes: Iterable[Node]) -> dict[Node, ModulePath]:
    """Return the module of each node, without the modules that are around all the others."""
    paths = {node: tuple(filter(None, module_of(node).split("."))) for node in nodes}
    known = [path for path in paths.values() if path]
    common = 0
    while known and len({path[: common + 1] for path in known}) == 1 and len(known[0]) > common + 1:
        common += 1
    return {node: path[common:] for node, path in paths.items()}


def _by(nodes: Iterable[Node], key: Callable[[Node], T]) -> dict[T, tuple[Node, ...]]:
    groups: dict[T, list[Node]] = {}
    for node in nodes:
        groups.setdefault(key(node), []).append(node)
    return {group: tuple(members) for group, members in groups.items()}
