"""Finds the Mark nodes of an ONNX graph and resolves references to them; must not import torch,
disk access or the cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from partition_core.base.errors import CutError, Problem, one_of, problem, suggestion
from partition_core.graph.file.attributes import Attribute, attributes_of
from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Graph, Model, Node, Value
from partition_core.graph.file.graph_reader import (
    ATTRIBUTES,
    DOMAIN,
    NODE_INPUT,
    NODE_OUTPUT,
    OP_TYPE,
    OVERLOAD,
)
from partition_core.graph.file.value_type import DTYPES
from partition_core.graph.file.wire import named, without
from partition_core.graph.walk import all_nodes, live_values, nodes_within, reads
from partition_core.recipe.mark_reference import MarkReference, Side
from partition_core.recipe.values import HALF_TOLERANCES

MARK_OP = "Mark"
MARK_DOMAINS = ("partition", "mmdeploy")
MARK_ATTRIBUTES = ("func", "func_id", "type", "name", "id", "dtype", "shape")
_OF_A_MARK = (NODE_INPUT, NODE_OUTPUT, OP_TYPE, ATTRIBUTES, DOMAIN, OVERLOAD)
_SIDES: dict[str, Side] = {"input": "input", "output": "output"}


def is_mark(node: Node) -> bool:
    """Return whether `node` is a Mark node, ours or MMDeploy's."""
    return node.op_type == MARK_OP and node.domain in MARK_DOMAINS


def has_16_bits(mark: Node) -> bool:
    """Return whether a Mark node says that its tensor is float16 or bfloat16."""
    return DTYPES.get(_number(attributes_of(mark), "dtype")) in HALF_TOLERANCES


def as_identity(node: Node) -> Node:
    """Return an Identity node with the input and output of the Mark node `node`."""
    rest = without(content_of(node.message), *_OF_A_MARK)
    message = rest + named(OP_TYPE, "Identity")
    return replace(
        node, message=message, op_type="Identity", domain="", overload="", written_names=()
    )


def live_nodes(graph: Graph) -> list[Node]:
    """Return the nodes that depend on an input, without Mark nodes, in graph order."""
    live = live_values(graph)
    return [node for node in graph if not is_mark(node) and not live.isdisjoint(reads(node))]


def unmarked_value(value: Value) -> Value:
    """Return the value in front of the Mark nodes that `value` went through, if any."""
    node = value.producer
    while node is not None and is_mark(node) and node.inputs and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer
    return value


def unmarked_reads(node: Node) -> Iterator[Value]:
    """Yield what `reads` does, each in front of the Mark nodes that it went through."""
    return map(unmarked_value, reads(node))


def readers_of(graph: Graph) -> dict[Value, list[Node]]:
    """Return the nodes that read each value, also behind marks, in graph order; no Mark nodes."""
    readers: dict[Value, list[Node]] = {}
    for node in graph:
        if not is_mark(node):
            for value in dict.fromkeys(unmarked_reads(node)):
                readers.setdefault(value, []).append(node)
    return readers


@dataclass(frozen=True)
class MarkedTensor:
    """One tensor of one side of one call of a mark, as its Mark node describes it.

    `value` is the unmarked value, `marked_value` the output of the node. `enclosing` names the
    top-level node or the function that holds the node, and is empty for a node of the main graph.
    `dtype` and `shape` are the node's own attributes; None if it has none. `label` is its name in
    messages, if not its reference.
    """

    mark: str
    call: int
    side: Side
    path: tuple[str, ...]
    order: int
    value: Value
    marked_value: Value
    enclosing: str
    dtype: int | None
    shape: tuple[int, ...] | None
    label: str = ""

    @property
    def name(self) -> str:
        """The dotted name, which the tensor also has at the boundary of a segment."""
        return ".".join(self.path) or self.side

    @property
    def reference(self) -> MarkReference:
        """The reference that selects this tensor and those below its path."""
        return MarkReference(self.mark, self.side, self.call, self.path)

    def __str__(self) -> str:
        """Return its name in messages."""
        return self.label or str(self.reference)


@dataclass(frozen=True)
class MarkTable:
    """All marked tensors of a model, in graph order."""

    tensors: tuple[MarkedTensor, ...]

    @cached_property
    def by_value(self) -> dict[Value, list[MarkedTensor]]:
        """The marked tensors of each unmarked value; only those a segment can start or end at."""
        table: dict[Value, list[MarkedTensor]] = {}
        for tensor in self.tensors:
            if not tensor.enclosing:
                table.setdefault(tensor.value, []).append(tensor)
        return table

    def select(self, reference: MarkReference, at: str) -> tuple[MarkedTensor, ...] | Problem:
        """Return the tensors that `reference` selects, by `id`, or why there are none."""
        of_mark = [t for t in self.tensors if t.mark == reference.mark]
        of_call = [t for t in of_mark if t.call == reference.call]
        of_side = [t for t in of_call if t.side == reference.side]
        selected = sorted(
            (t for t in of_side if reference.selects(t.path)), key=lambda tensor: tensor.order
        )
        if not of_mark:
            return _no_mark(reference, self.tensors, at)
        if not of_call:
            return _no_call(reference, of_mark, at)
        if not of_side:
            return _no_side(reference, of_call, at)
        if not selected:
            return _no_path(reference, of_side, at)
        inside = next((t for t in selected if t.enclosing), None)
        return _inside_body(reference, inside, at) if inside else tuple(selected)


def marks_of(model: Model) -> MarkTable:
    """Return the marked tensors of `model`: of its graph, of all bodies and of its functions.

    Raises CutError if a Mark node lacks a required attribute.
    """
    tensors: list[MarkedTensor] = []
    problems: list[Problem] = []
    for node, enclosing in _marks(model):
        tensor = _marked_tensor(node, enclosing)
        if isinstance(tensor, Problem):
            problems.append(tensor)
        else:
            tensors.append(tensor)
    CutError.refuse(problems)
    return MarkTable(tuple(tensors))


def _marks(model: Model) -> Iterator[tuple[Node, str]]:
    for top in model.graph:
        if is_mark(top):
            yield top, ""
        for node in nodes_within(top):
            if is_mark(node):
                yield node, f"{top.op_type} node '{top.name}'"
    for function in model.functions.values():
        for node in all_nodes(function.graph):
            if is_mark(node):
                yield node, f"function '{function.key[0]}.{function.key[1]}'"


def _marked_tensor(node: Node, enclosing: str) -> MarkedTensor | Problem:
    where = f"Mark node '{node.name or node.outputs[0].name}'"
    attributes = attributes_of(node)
    mark = _text(attributes, "func")
    side = _SIDES.get(_text(attributes, "type"))
    dtype = _number(attributes, "dtype")
    if len(node.inputs) != 1 or node.inputs[0] is None or len(node.outputs) != 1:
        return problem(where, "it must have one input and one output")
    if not mark or side is None:
        what = "its attributes do not say which mark and side it belongs to"
        return problem(where, what, "expected a name in 'func' and 'input' or 'output' in 'type'")
    if dtype and dtype not in DTYPES:
        return problem(where, f"its attribute 'dtype' is {dtype}", "expected an ONNX data type")
    name = _text(attributes, "name")
    shape = attributes.get("shape")
    return MarkedTensor(
        mark=mark,
        call=_number(attributes, "func_id"),
        side=side,
        path=tuple(name.split(".")) if name else (),
        order=_number(attributes, "id"),
        value=unmarked_value(node.outputs[0]),
        marked_value=node.outputs[0],
        enclosing=enclosing,
        dtype=dtype or None,
        shape=shape if isinstance(shape, tuple) else None,
    )


def _text(attributes: Mapping[str, Attribute], name: str) -> str:
    value = attributes.get(name)
    return value if isinstance(value, str) else ""


def _number(attributes: Mapping[str, Attribute], name: str) -> int:
    value = attributes.get(name)
    return value if isinstance(value, int) else 0


def _no_mark(reference: MarkReference, tensors: Iterable[MarkedTensor], at: str) -> Problem:
    known = {tensor.mark for tensor in tensors}
    hint = suggestion(reference.mark, known)
    return problem(at, f"the model has no mark '{reference.mark}'", one_of(known), hint)


def _no_call(reference: MarkReference, tensors: Iterable[MarkedTensor], at: str) -> Problem:
    calls = sorted({tensor.call for tensor in tensors})
    count = f"{len(calls)} call{'s' if len(calls) > 1 else ''}"
    what = f"mark '{reference.mark}' has {count}, none with number {reference.call}"
    return problem(at, what, f"expected {' or '.join(str(call) for call in calls)}")


def _no_side(reference: MarkReference, tensors: Iterable[MarkedTensor], at: str) -> Problem:
    other = "output" if reference.side == "input" else "input"
    what = f"nothing at the {reference.side} of mark '{reference.mark}' is marked"
    marked = ", ".join(f"'{tensor}'" for tensor in tensors)
    remedy = f"list {reference.side}s in the mark, or refer to its {other}: {marked}"
    return problem(at, what, "", remedy)


def _no_path(reference: MarkReference, tensors: Sequence[MarkedTensor], at: str) -> Problem:
    known = [str(tensor) for tensor in tensors]
    names = ", ".join(f"'{name}'" for name in known)
    what = f"'{reference}' selects no tensor"
    return problem(at, what, f"expected one of {names}", suggestion(str(reference), known))


def _inside_body(reference: MarkReference, tensor: MarkedTensor, at: str) -> Problem:
    what = f"'{tensor if reference.path else reference}' lies inside a body of {tensor.enclosing}"
    if tensor.enclosing.startswith("function"):
        what = f"'{reference}' lies inside {tensor.enclosing}"
    expected = "a segment starts and ends in the main graph"
    return problem(at, what, expected, "mark a tensor outside it")
