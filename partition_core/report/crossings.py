"""The tensors at the borders of segments, between groups of nodes; must not group the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from partition_core.chain.pieces import MODEL_INPUT, MODEL_OUTPUT
from partition_core.graph.costs import Sizes, TypeOf, tensor_bytes
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.marks import MarkedTensor, marks_of, unmarked_value
from partition_core.graph.model_inputs import inputs_of
from partition_core.graph.scope import Scope
from partition_core.graph.walk import reads


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


class Flows:
    """The producer and the readers of each value, as boxes. Mark nodes are skipped."""

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
        self._producers = {value: box for node, box in box_of.items() for value in node.outputs}
        self._readers: dict[Value, list[tuple[int, Node]]] = {}
        for node, box in box_of.items():
            for value in reads(node):
                self._readers.setdefault(unmarked_value(value), []).append((box, node))
        self._inside = {scope.segment.save_file: set(scope.walk.nodes) for scope in scopes}
        self._enters = _sides(scopes, "inputs")
        self._leaves = _sides(scopes, "outputs")

    def crossings(self) -> Iterator[Crossing]:
        """Yield the tensors at borders, in graph order; adds the other tensors to `arrows`."""
        outputs = {unmarked_value(value): value.name for value in self._model.graph.outputs}
        inputs = {value: name for name, value in inputs_of(self._model).items()}
        at_border = dict.fromkeys([*inputs, *self._enters, *self._leaves, *outputs])
        marks = marks_of(self._model).by_value
        for value in self._in_graph_order(at_border):
            enters, leaves = self._enters.get(value, {}), self._leaves.get(value, {})
            through = self._targets(value, set(enters), from_input=value in inputs)
            sources = (self._producers[value],) if value in self._producers else ()
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
            for value, maker in self._producers.items()
            if value not in at_border
            for box, _ in self._readers.get(value, [])
            if box != maker
        }

    def _in_graph_order(self, values: Iterable[Value]) -> list[Value]:
        produced = [value for node in self._model.graph for value in node.outputs]
        position = {value: index for index, value in enumerate(produced)}
        return sorted(values, key=lambda value: position.get(value, -1))

    def _targets(self, value: Value, segments: set[str], from_input: bool) -> set[int]:
        """Return the boxes that read a value across a border, in the segments that it enters."""
        return {
            box
            for box, node in self._readers.get(value, [])
            if from_input
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
        value_type = self._type_in(value)
        dims = value_type.dims if value_type is not None and value_type.dims is not None else ()
        first = next(iter(marked), None)
        return Crossing(
            names=tuple(dict.fromkeys(names)),
            mark=f"{first.mark}:{first.side}" if first else "",
            marks=tuple(str(tensor) for tensor in marked),
            dtype=value_type.text if value_type else "",
            dims=tuple("?" if dim is None else dim for dim in dims),
            size=tensor_bytes(value_type, self._sizes),
            sources=sources,
            targets=targets,
            leaves=leaves,
            enters=enters,
        )


def _sides(scopes: Sequence[Scope], side: str) -> dict[Value, dict[str, str]]:
    """Return the tensors at one side of all segments, each with its name in those segments."""
    names: dict[Value, dict[str, str]] = {}
    for scope in scopes:
        for item in scope.inputs if side == "inputs" else scope.outputs:
            names.setdefault(item.value, {})[scope.segment.save_file] = item.name
    return names
