"""The data flow of a graph: steps with their costs, and the tensors between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

from partition_core.graph.costs import TypeOf, flops_of, tensor_bytes, types_of, weights_of
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.file.value_type import ValueType
from partition_core.graph.marks import live_nodes, unmarked_value
from partition_core.graph.walk import live_values, reads

Dims = tuple[int, ...]


@dataclass(frozen=True)
class FlowTensor:
    """A tensor that depends on an input: `size` in bytes, None if unknown or not a tensor.

    `maker` is the index of the step that makes it, -1 for an input of the model; `readers` are
    the steps that read it. `is_output` is whether it is an output of the model.
    """

    name: str
    size: int | None
    maker: int
    readers: tuple[int, ...]
    is_output: bool = False


@dataclass(frozen=True)
class Weight:
    """A weight: the number of its elements, 0 if they are not learnable, and its bytes."""

    name: str
    parameters: int
    size: int


@dataclass(frozen=True)
class FlowStep:
    """A node that depends on an input: what it does, costs, reads and makes.

    `reads` and `makes` are indices of tensors, `weights` of weights.
    """

    name: str
    op_type: str
    flops: int
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    weights: tuple[int, ...] = ()


@dataclass(frozen=True)
class Flow:
    """The steps of a graph in its order, its tensors and weights.

    Tensors that derive from constants alone are not in it: each part of a cut has its own copy.
    Mark nodes are not steps, and their outputs count as the tensors that they mark.
    """

    steps: tuple[FlowStep, ...]
    tensors: tuple[FlowTensor, ...]
    weights: tuple[Weight, ...] = ()

    @property
    def flops(self) -> int:
        """The operations of all steps."""
        return sum(step.flops for step in self.steps)


def flow_of(model: Model, measured: Mapping[str, Dims] | None = None) -> Flow:
    """Return the flow of the main graph of `model`.

    `measured` are dims of values, by name, for shapes that depend on data. A node whose
    operations `graph.costs` cannot count has one for each element of its outputs.
    """
    type_in = _types(model, measured or {})
    live = live_values(model.graph)
    nodes = live_nodes(model.graph)
    outputs = {unmarked_value(value) for value in model.graph.outputs}
    needed = {unmarked_value(v) for node in nodes for v in reads(node) if v in live} | outputs
    produced = [value for node in nodes for value in node.outputs if value in needed]
    values = [*(value for value in model.graph.inputs if value in needed & live), *produced]
    position = {value: index for index, value in enumerate(values)}
    readers: list[list[int]] = [[] for _ in values]
    maker = [-1] * len(values)
    weights: dict[Value, int] = {}
    steps: list[FlowStep] = []
    for index, node in enumerate(nodes):
        read = dict.fromkeys(position[unmarked_value(v)] for v in reads(node) if v in live)
        makes = [position[value] for value in node.outputs if value in position]
        for tensor in read:
            readers[tensor].append(index)
        for tensor in makes:
            maker[tensor] = index
        read_weights = [weights.setdefault(w, len(weights)) for w in _weights_of(node, live)]
        steps.append(
            FlowStep(
                node.name or node.outputs[0].name,
                node.op_type,
                _flops(node, type_in),
                tuple(read),
                tuple(makes),
                tuple(read_weights),
            )
        )
    tensors = tuple(
        FlowTensor(
            value.name,
            tensor_bytes(type_in(value), {}),
            maker[index],
            tuple(readers[index]),
            value in outputs,
        )
        for index, value in enumerate(values)
    )
    return Flow(tuple(steps), tensors, tuple(_weight(value) for value in weights))


def flowing_values(model: Model) -> dict[str, Value]:
    """Return the tensors of the flow of `model` by name, as values of its graph."""
    produced = [value for node in live_nodes(model.graph) for value in node.outputs if value.name]
    return {value.name: value for value in (*model.graph.inputs, *produced)}


def unknown_sizes(model: Model) -> list[str]:
    """Return the names of the tensors whose dims are unknown until the model runs."""
    type_in = _types(model, {})
    return [
        name
        for name, value in flowing_values(model).items()
        if (known := type_in(value)) is None
        or (not known.composed and tensor_bytes(known, {}) is None)
    ]


def _types(model: Model, measured: Mapping[str, Dims]) -> TypeOf:
    """Return a lookup of value types that uses the measured dims."""
    type_in = types_of(model)

    def known(value: Value) -> ValueType | None:
        value = unmarked_value(value)
        value_type = type_in(value)
        if value_type is not None and value.name in measured:
            return replace(value_type, dims=measured[value.name])
        return value_type

    return known


def _flops(node: Node, type_in: TypeOf) -> int:
    counted = flops_of(node, type_in, {})
    if counted is not None:
        return counted
    types = [type_in(value) for value in node.outputs if value.name]
    shapes = [known.dims for known in types if known is not None and known.dims is not None]
    return sum(prod(dim for dim in dims if isinstance(dim, int)) for dims in shapes)


def _weights_of(node: Node, live: set[Value]) -> Iterator[Value]:
    """Yield the weights that `node` reads, directly or through computed constants."""
    visited: set[Value] = set()
    pending = [value for value in reads(node) if value not in live]
    while pending:
        value = pending.pop()
        if value in visited:
            continue
        visited.add(value)
        if value.tensor is not None:
            yield value
        elif value.producer is not None:
            pending.extend(reads(value.producer))


def _weight(value: Value) -> Weight:
    size = value.tensor.nbytes if value.tensor is not None else 0
    return Weight(value.name, weights_of([value]).count, size)
