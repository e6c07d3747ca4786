"""Divides a graph into parts that run one after the other, and marks what crosses between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from partition_core.graph.constants import Constants
from partition_core.graph.file.graph import Graph, Model, Node, Value
from partition_core.graph.marks import MarkTable, is_mark, unmarked_reads, unmarked_value
from partition_core.graph.named_tensors import NamedTensor, marks_by_name
from partition_core.graph.walk import reads
from partition_core.recipe.mark_reference import Side

_SIZES = frozenset(("Shape", "Size"))

Parts = Mapping[Node, int]
"""The part, from 0, of each node of the main graph without Mark nodes and without constant ones."""


def filled(graph: Graph, constants: Constants, known: Parts) -> dict[Node, int]:
    """Return the parts of all nodes of `graph`, in order, where those of `known` are as there.

    Another node that depends on one of them is in the first part in which it can run; one that
    depends on none is in the first part that reads it.
    """
    parts: dict[Node, int] = {}
    for node in graph:
        makers = [parts[v.producer] for v in reads(node) if v.producer in parts]
        part = known.get(node, max(makers, default=None))
        if part is not None:
            parts[node] = part
    first_reader: dict[Value, int] = {}
    for node in reversed(graph.nodes):
        readers = [first_reader[value] for value in node.outputs if value in first_reader]
        part = parts.setdefault(node, min(readers, default=0))
        for value in reads(node):
            first_reader[value] = min(part, first_reader.get(value, part))
    fixed = {node for node in graph if is_mark(node) or all(v in constants for v in node.outputs)}
    divided = {node: parts[node] for node in graph if node not in fixed}
    return divided | _sizes_where_made(divided, constants)


def _sizes_where_made(parts: Parts, constants: Constants) -> dict[Node, int]:
    """Return the parts of nodes that read nothing but the size of a value of an earlier part."""
    crossing = {
        (value, part)
        for node, part in parts.items()
        if not is_size(node)
        for value in unmarked_reads(node)
    }
    return {
        node: parts[value.producer]
        for node, part in parts.items()
        if is_size(node)
        for value in unmarked_reads(node)
        if value.producer is not None and value.producer in parts
        if value not in constants and (value, part) not in crossing
    }


def constant_reads(node: Node, constants: Constants) -> set[Value]:
    """Return the initializers that a node reads, also through operators on constants."""
    pending, values = [node], set[Value]()
    while pending:
        for value in reads(pending.pop()):
            if value in constants and value not in values:
                values.add(value)
                pending += [value.producer] if value.producer is not None else []
    return values


def is_size(node: Node) -> bool:
    """Return whether a node reads only the size of its input."""
    return node.op_type in _SIZES and not node.domain


def backward(parts: Parts) -> tuple[Node, Node] | None:
    """Return a node and one of an earlier part that reads it; None if every read goes forward."""
    for node, part in parts.items():
        for value in unmarked_reads(node):
            maker = value.producer
            if maker is not None and parts.get(maker, part) > part:
                return maker, node
    return None


def part_marks(
    model: Model, constants: Constants, parts: Parts, names: Sequence[str], at: str
) -> MarkTable:
    """Return a mark for each part with what it reads and gives, and `model` with all inputs.

    `names` are those of the marks; `at` is the YAML path of the cut.
    """
    inputs: list[set[Value]] = [set() for _ in names]
    outputs: list[set[Value]] = [set() for _ in names]
    for node, part in parts.items():
        for value in unmarked_reads(node):
            maker = None if value.producer is None else parts.get(value.producer)
            if value in constants or maker == part:
                continue
            if maker is not None:
                outputs[maker].add(value)
            if maker is not None or not is_size(node):
                inputs[part].add(value)
    for value in model.graph.outputs:
        unmarked = unmarked_value(value)
        maker = None if unmarked.producer is None else parts.get(unmarked.producer)
        if maker is not None and unmarked not in outputs[maker]:
            outputs[maker].add(value)
    order = {value: number for number, value in enumerate(_values(model.graph))}
    given = [value for value in model.graph.inputs if value.tensor is None]
    sides: list[tuple[str, Side, Sequence[Value]]] = [("model", "input", given)]
    for name, read, made in zip(names, inputs, outputs, strict=True):
        sides.append((name, "input", sorted(read, key=order.__getitem__)))
        sides.append((name, "output", sorted(made, key=order.__getitem__)))
    return marks_by_name(
        model,
        [
            NamedTensor(mark, side, tuple(value.name.split(".")), value.name, at)
            for mark, side, values in sides
            for value in values
        ],
    )


def _values(graph: Graph) -> Iterator[Value]:
    yield from graph.inputs
    for node in graph:
        yield from node.outputs
