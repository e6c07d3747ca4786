"""Finds what a broken model reads and nothing in it defines."""

from __future__ import annotations

from collections.abc import Iterator

from partition_core.base.errors import CutError, Problem, problem, quoted, suggestion
from partition_core.base.wording import first_of
from partition_core.graph.file.graph import Graph, Model, Node, Value
from partition_core.graph.walk import all_nodes

_MOST_LISTED = 8


def check_defined(model: Model, where: str) -> None:
    """Raise CutError if a node or an output of a model reads what nothing defines."""
    CutError.refuse(undefined_problems(model, where))


def undefined_problems(model: Model, where: str) -> Iterator[Problem]:
    """Yield the problem, if there is one, that a model reads names that nothing defines."""
    readers: dict[str, str] = {}
    for around, graph in _graphs(model):
        for reader, value in _reads(graph):
            if not _is_defined(value):
                readers.setdefault(value.name, f"{reader}{around}")
    if not readers:
        return
    missing = [f"{reader} reads {quoted(name)}" for name, reader in readers.items()]
    what = f"it is broken: {first_of(missing, _MOST_LISTED)}, which nothing in it defines"
    expected = "expected an input of the model, a weight or what a node gives"
    near = suggestion(next(iter(readers)), _names(model)) if len(readers) == 1 else ""
    remedy = "export it again, or mend the tool that changed it"
    yield problem(where, what, expected, "; ".join(filter(None, (near, remedy))))


def _graphs(model: Model) -> Iterator[tuple[str, Graph]]:
    yield "", model.graph
    for (_, name, _), function in model.functions.items():
        yield f" of function {quoted(name)}", function.graph


def _reads(graph: Graph) -> Iterator[tuple[str, Value]]:
    """Yield each value that a graph reads, also in bodies, and what reads it."""
    for node in all_nodes(graph):
        for value in node.inputs:
            if value is not None:
                yield _called(node), value
        for body in node.bodies:
            for value in body.outputs:
                yield f"a body of {_called(node)}", value
    for value in graph.outputs:
        yield "the list of outputs", value


def _is_defined(value: Value) -> bool:
    return value.is_input or value.producer is not None or value.tensor is not None


def _names(model: Model) -> Iterator[str]:
    yield from (value.name for value in (*model.graph.inputs, *model.graph.initializers))
    for node in all_nodes(model.graph):
        yield from (value.name for value in node.outputs if value.name)


def _called(node: Node) -> str:
    return f"{node.op_type} node {quoted(node.name)}" if node.name else f"a {node.op_type} node"
