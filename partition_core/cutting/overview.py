"""A partition at a glance: groups of nodes, what each costs, and the tensors at its borders, as
plain values; must not draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from partition_core.cutting.boundaries import MODEL_INPUT, MODEL_OUTPUT, SEGMENTS_AT
from partition_core.cutting.costs import (
    Sizes,
    TypeOf,
    Weights,
    cost_of,
    tensor_bytes,
    types_of,
    weights_of,
)
from partition_core.cutting.graph_marks import MarkedTensor, is_mark, marks_of, root
from partition_core.cutting.graph_walk import dependents, reads
from partition_core.cutting.modules import Group, groups
from partition_core.cutting.onnx_file.graph import Model, Node, Value
from partition_core.cutting.segment_scope import Scope, scope_of
from partition_core.recipe import Segment

MOST_GROUPS = 26
"""About as many groups as a person can take in."""

Region = tuple[str, ...]
"""The segments that nodes are in, by `save_file`: none, one, or several."""


@dataclass(frozen=True)
class Work:
    """What some nodes are and cost. `unknown` of them have a cost that the data decides."""

    nodes: int
    operators: Mapping[str, int]
    weights: Weights
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
class Crossing:
    """A tensor at the border of a segment or of the model.

    `names` are its names in the segments that it enters or leaves. `size` are its bytes, None
    if a dim has no size. `sources` and `targets` are positions of boxes; `leaves` and `enters`
    are segments, or the model's own input and output.
    """

    names: tuple[str, ...]
    mark: str
    marks: tuple[str, ...]
    dtype: str
    dims: tuple[int | str, ...]
    size: int | None
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    leaves: tuple[str, ...]
    enters: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """The end2end model as boxes, with the tensors at borders and the other `arrows` between.

    `segments` has the work of each segment, `whole` that of the model. `constant` nodes depend
    on no input of the model and are in no box.
    """

    boxes: tuple[Box, ...]
    crossings: tuple[Crossing, ...]
    arrows: tuple[tuple[int, int], ...]
    segments: Mapping[str, Work]
    whole: Work
    constant: int


def overview(
    model: Model, segments: Sequence[Segment], sizes: Sizes, limit: int = MOST_GROUPS
) -> Overview:
    """Return the overview of `model`, cut into `segments`.

    `sizes` tells what symbolic dims stand for. Raises CutError as `boundaries.edges` does.
    """
    scopes = [
        scope_of(model, segment, f"{SEGMENTS_AT}[{index}]")
        for index, segment in enumerate(segments)
    ]
    type_in = types_of(model)
    regions = _regions(model, scopes)
    found = groups(regions, limit)
    box_of = {node: index for index, group in enumerate(found) for node in group.nodes}
    flows = _Flows(model, scopes, box_of, type_in, sizes)
    crossings = tuple(flows.crossings())
    return Overview(
        boxes=tuple(_box(group, type_in, sizes) for group in found),
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
        constant=sum(not is_mark(node) for node in model.graph) - len(regions),
    )


def sizes_in(model: Model, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return what symbolic dims stand for, if the marked tensors have these shapes.

    `shapes` are by mark reference; a reference or a symbol that the other does not have is left
    out.
    """
    found: dict[str, int] = {}
    for tensor in marks_of(model).tensors:
        told = tensor.seen.type
        if told is not None and told.dims is not None and str(tensor) in shapes:
            pairs = zip(told.dims, shapes[str(tensor)], strict=False)
            found.update({dim: size for dim, size in pairs if isinstance(dim, str)})
    return found


def _regions(model: Model, scopes: Sequence[Scope]) -> dict[Node, Region]:
    live = dependents(model.graph, [v for v in model.graph.inputs if v.tensor is None])
    inside = {scope.segment.save_file: set(scope.walk.nodes) for scope in scopes}
    return {
        node: tuple(name for name, nodes in inside.items() if node in nodes)
        for node in model.graph
        if not is_mark(node) and any(value in live for value in reads(node))
    }


def _box(group: Group, type_in: TypeOf, sizes: Sizes) -> Box:
    region = group.region if isinstance(group.region, tuple) else ()
    weights = [value for node in group.nodes for value in reads(node)]
    work = _work(group.nodes, weights, type_in, sizes)
    return Box(".".join(group.path), group.split, region, work)


def _work(nodes: Sequence[Node], weights: Iterable[Value], type_in: TypeOf, sizes: Sizes) -> Work:
    flops = [cost_of(node, type_in, sizes).flops for node in nodes]
    return Work(
        nodes=len(nodes),
        operators=dict(Counter(node.op_type for node in nodes).most_common()),
        weights=weights_of(weights),
        flops=sum(known for known in flops if known is not None),
        unknown=flops.count(None),
    )


class _Flows:
    """Who makes and who reads each value, in terms of boxes. Mark nodes are looked through."""

    def __init__(
        self,
        model: Model,
        scopes: Sequence[Scope],
        box_of: Mapping[Node, int],
        type_in: TypeOf,
        sizes: Sizes,
    ) -> None:
        self.arrows: set[tuple[int, int]] = set()
        self._model = model
        self._type_in = type_in
        self._sizes = sizes
        self._maker = {value: box for node, box in box_of.items() for value in node.outputs}
        self._readers: dict[Value, list[tuple[int, Node]]] = {}
        for node, box in box_of.items():
            for value in reads(node):
                self._readers.setdefault(root(value), []).append((box, node))
        self._inside = {scope.segment.save_file: set(scope.walk.nodes) for scope in scopes}
        self._enters = _sides(scopes, "inputs")
        self._leaves = _sides(scopes, "outputs")

    def crossings(self) -> Iterator[Crossing]:
        """Yield the tensors at borders, in graph order; afterwards `arrows` has all others."""
        outputs = {root(value): value.name for value in self._model.graph.outputs}
        inputs = {v: v.name for v in self._model.graph.inputs if v.tensor is None}
        at_border = dict.fromkeys([*inputs, *self._enters, *self._leaves, *outputs])
        marks = _marks_by_value(self._model)
        for value in self._made_order(at_border):
            enters, leaves = self._enters.get(value, {}), self._leaves.get(value, {})
            through = self._targets(value, set(enters), everyone=value in inputs)
            sources = (self._maker[value],) if value in self._maker else ()
            self.arrows |= {
                (source, box)
                for source in sources
                for box, _ in self._readers.get(value, [])
                if box not in through and box != source
            }
            yield self._crossing(
                value,
                [*leaves.values(), *enters.values()] or [inputs.get(value, outputs.get(value, ""))],
                marks.get(value, []),
                sources,
                tuple(sorted(through)),
                (*([MODEL_INPUT] if value in inputs else []), *leaves),
                (*enters, *([MODEL_OUTPUT] if value in outputs else [])),
            )
        self.arrows |= {
            (maker, box)
            for value, maker in self._maker.items()
            if value not in at_border
            for box, _ in self._readers.get(value, [])
            if box != maker
        }

    def _made_order(self, values: Iterable[Value]) -> list[Value]:
        made = [value for node in self._model.graph for value in node.outputs]
        place = {value: index for index, value in enumerate(made)}
        return sorted(values, key=lambda value: place.get(value, -1))

    def _targets(self, value: Value, segments: set[str], everyone: bool) -> set[int]:
        """Return the boxes that read a value across a border: of the segments that it enters."""
        return {
            box
            for box, node in self._readers.get(value, [])
            if everyone
            or any(node in self._inside[name] for name in segments)
            or not any(
                node in inside and value.producer in inside for inside in self._inside.values()
            )
        }

    def _crossing(
        self,
        value: Value,
        names: Iterable[str],
        marked: Sequence[MarkedTensor],
        sources: tuple[int, ...],
        targets: tuple[int, ...],
        leaves: tuple[str, ...],
        enters: tuple[str, ...],
    ) -> Crossing:
        found = self._type_in(value)
        dims = found.dims if found is not None and found.dims is not None else ()
        first = next(iter(marked), None)
        return Crossing(
            names=tuple(dict.fromkeys(names)),
            mark=f"{first.mark}:{first.side}" if first else "",
            marks=tuple(str(tensor) for tensor in marked),
            dtype=found.text if found else "",
            dims=tuple("?" if dim is None else dim for dim in dims),
            size=tensor_bytes(found, self._sizes),
            sources=sources,
            targets=targets,
            leaves=leaves,
            enters=enters,
        )


def _sides(scopes: Sequence[Scope], side: str) -> dict[Value, dict[str, str]]:
    """Return the tensors at one side of all segments: of each its name in those segments."""
    found: dict[Value, dict[str, str]] = {}
    for scope in scopes:
        for item in scope.inputs if side == "inputs" else scope.outputs:
            found.setdefault(item.value, {})[scope.segment.save_file] = item.name
    return found


def _marks_by_value(model: Model) -> dict[Value, list[MarkedTensor]]:
    found: dict[Value, list[MarkedTensor]] = {}
    for tensor in marks_of(model).tensors:
        if not tensor.enclosing:
            found.setdefault(tensor.value, []).append(tensor)
    return found
