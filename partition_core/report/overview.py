"""A partition at a glance: groups of nodes, their costs, and the tensors at borders, as plain
values; must not draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from partition_core.graph.costs import (
    ParameterCount,
    Sizes,
    TypeOf,
    flops_of,
    types_of,
    weights_of,
)
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.marks import live_nodes, marks_of
from partition_core.graph.scope import Scope, scopes_of
from partition_core.graph.walk import reads
from partition_core.recipe.values import Segment
from partition_core.report.crossings import Crossing, Flows
from partition_core.report.modules import Group, groups

MOST_GROUPS = 26
"""About as many groups as a person can take in."""
SMALLEST_SPLIT = 4
"""Modules with fewer nodes are not worth several groups."""

Region = tuple[str, ...]
"""The segments that nodes are in, by `save_file`: none, one, or several."""


@dataclass(frozen=True)
class Work:
    """The operators and cost of some nodes. The cost of `unknown` of them depends on the data."""

    nodes: int
    operators: Mapping[str, int]
    weights: ParameterCount
    flops: int
    unknown: int


@dataclass(frozen=True)
class Box:
    """A group of nodes: the module that it comes from, its segments, and its work."""

    module: str
    split: bool
    region: Region
    work: Work


@dataclass(frozen=True)
class Overview:
    """The end2end model as boxes, with the tensors at borders and the other `arrows` between.

    `segments` has the work of each segment, `whole` that of the model. Nodes that depend on no
    input of the model are in no box.
    """

    boxes: tuple[Box, ...]
    crossings: tuple[Crossing, ...]
    arrows: tuple[tuple[int, int], ...]
    segments: Mapping[str, Work]
    whole: Work


def overview(
    model: Model,
    segments: Sequence[Segment],
    sizes: Sizes,
    limit: int = MOST_GROUPS,
    smallest: int = SMALLEST_SPLIT,
) -> Overview:
    """Return the overview of `model`, cut into `segments`.

    `sizes` are the values of symbolic dims. Raises CutError as `boundaries.edges` does.
    """
    scopes = scopes_of(model, segments)
    type_in = types_of(model)
    regions = _regions(model, scopes)
    node_groups = groups(regions, limit, smallest)
    box_of = {node: index for index, group in enumerate(node_groups) for node in group.nodes}
    flows = Flows(model, scopes, box_of, type_in, sizes)
    crossings = tuple(flows.crossings())
    return Overview(
        boxes=tuple(_box(group, type_in, sizes) for group in node_groups),
        crossings=crossings,
        arrows=tuple(sorted(flows.arrows)),
        segments={
            scope.segment.save_file: _work(
                [node for node in regions if scope.segment.save_file in regions[node]],
                scope.walk.initializers,
                type_in,
                sizes,
            )
            for scope in scopes
        },
        whole=_work(list(regions), model.graph.initializers, type_in, sizes),
    )


def sizes_in(model: Model, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return the values of symbolic dims, if the marked tensors have these shapes.

    `shapes` are by mark reference; references and symbols without a counterpart are ignored.
    """
    sizes: dict[str, int] = {}
    type_in = types_of(model)
    for tensor in marks_of(model).tensors:
        value_type = type_in(tensor.value)
        if value_type is not None and value_type.dims is not None and str(tensor) in shapes:
            pairs = zip(value_type.dims, shapes[str(tensor)], strict=False)
            sizes.update({dim: size for dim, size in pairs if isinstance(dim, str)})
    return sizes


def _regions(model: Model, scopes: Sequence[Scope]) -> dict[Node, Region]:
    inside = {scope.segment.save_file: set(scope.walk.nodes) for scope in scopes}
    return {
        node: tuple(name for name, nodes in inside.items() if node in nodes)
        for node in live_nodes(model.graph)
    }


def _box(group: Group, type_in: TypeOf, sizes: Sizes) -> Box:
    region = group.region if isinstance(group.region, tuple) else ()
    weights = [value for node in group.nodes for value in reads(node)]
    work = _work(group.nodes, weights, type_in, sizes)
    return Box(".".join(group.path), group.split, region, work)


def _work(nodes: Sequence[Node], weights: Iterable[Value], type_in: TypeOf, sizes: Sizes) -> Work:
    flops = [flops_of(node, type_in, sizes) for node in nodes]
    return Work(
        nodes=len(nodes),
        operators=dict(Counter(node.op_type for node in nodes).most_common()),
        weights=weights_of(weights),
        flops=sum(known for known in flops if known is not None),
        unknown=flops.count(None),
    )
