"""Marks for a model that has no Mark nodes: tensors by their names; must not touch disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from partition_core.base.errors import CutError, Problem, problem, suggestion
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.marks import MarkedTensor, MarkTable, root
from partition_core.graph.walk import all_nodes, nodes_within
from partition_core.recipe.mark_reference import MarkReference, Side
from partition_core.recipe.values import Segment, TensorName


@dataclass(frozen=True)
class NamedTensor:
    """The tensor `tensor` of the main graph as one side of a mark, at `path` of it.

    `at` is where it is named, such as a YAML path. `call` is the number of the call. `label` is
    what messages call it; left empty: by its name.
    """

    mark: str
    side: Side
    path: tuple[str, ...]
    tensor: str
    at: str
    call: int = 0
    label: str = ""


def tensor_names(model: Model, names: Sequence[tuple[str, TensorName]]) -> list[str]:
    """Return the name of the tensor that each of `names` means; each has its place before it.

    Raises CutError with a problem for every node that is not in the main graph, or does not have
    the output. That a tensor exists is for `marks_by_name` to say.
    """
    nodes: dict[str, list[Node]] = {}
    for node in model.graph:
        nodes.setdefault(node.name, []).append(node)
    found = [_named_or_made(model, nodes, name, at) for at, name in names]
    problems = dict.fromkeys(one for one in found if isinstance(one, Problem))
    if problems:
        raise CutError(*problems)
    return [one for one in found if isinstance(one, str)]


def _named_or_made(
    model: Model, nodes: Mapping[str, list[Node]], name: TensorName, at: str
) -> str | Problem:
    if name.node is None:
        return name.tensor or ""
    found = nodes.get(name.node, [])
    if not found:
        return _unknown_node(model, name.node, nodes, at)
    if len(found) > 1:
        what = f"{len(found)} nodes are named '{name.node}'"
        return problem(at, what, "expected one", "name the tensor itself")
    outputs = [value.name for value in found[0].outputs]
    listed = ", ".join(f"{index} ('{one}')" for index, one in enumerate(outputs) if one)
    if name.output is None and len(outputs) > 1:
        what = f"node '{name.node}' has {len(outputs)} outputs"
        return problem(at, what, f"expected 'output' to be one of {listed}")
    number = name.output or 0
    if number >= len(outputs) or not outputs[number]:
        what = f"node '{name.node}' has no output {number}"
        return problem(at, what, f"expected one of {listed}")
    return outputs[number]


def _unknown_node(model: Model, name: str, nodes: Mapping[str, object], at: str) -> Problem:
    for around, node in _inner_nodes(model):
        if node.name == name:
            what = f"node '{name}' lies inside {around}"
            return problem(at, what, _OUTSIDE, "name a node outside it")
    known = [one for one in nodes if one]
    remedy = suggestion(name, known) if known else "name tensors: its nodes have no names"
    return problem(at, f"the model has no node '{name}'", "", remedy)


def _inner_nodes(model: Model) -> Iterator[tuple[str, Node]]:
    """Yield every node that is not in the main graph, with the words for what is around it."""
    for top in model.graph:
        for node in nodes_within(top):
            yield f"a body of {top.op_type} node '{top.name}'", node
    for (domain, name, _), function in model.functions.items():
        for node in all_nodes(function.graph):
            yield f"function '{name}' of domain '{domain}'", node


_OUTSIDE = "a segment starts and ends in the main graph"


def marks_by_name(model: Model, tensors: Iterable[NamedTensor]) -> MarkTable:
    """Return the marks that `tensors` name, in their order.

    Raises CutError with a problem for every name that no tensor of the main graph has.
    """
    values = {value.name: value for value in _values(model) if value.name}
    made: list[MarkedTensor] = []
    problems: list[Problem] = []
    for order, one in enumerate(tensors):
        value = values.get(one.tensor)
        if value is None:
            problems.append(_unknown(model, one, values))
            continue
        made.append(
            MarkedTensor(
                mark=one.mark,
                call=one.call,
                side=one.side,
                path=one.path,
                order=order,
                value=root(value),
                seen=value,
                enclosing="",
                dtype=None,
                shape=None,
                label=one.label or one.tensor,
            )
        )
    if problems:
        raise CutError(*dict.fromkeys(problems))
    return MarkTable(tuple(made))


def between(
    model: Model, inputs: Sequence[str], outputs: Sequence[str], save_file: str
) -> tuple[Segment, MarkTable]:
    """Return the segment from the tensors `inputs` to the tensors `outputs`, and its marks.

    Its boundary has the tensors' own names. Raises CutError as `marks_by_name` does.
    """
    tensors = [NamedTensor("start", "input", (n,), n, "inputs") for n in inputs]
    tensors += [NamedTensor("end", "output", (n,), n, "outputs") for n in outputs]
    references = [MarkReference(one.mark, one.side, 0, one.path) for one in tensors]
    start, end = references[: len(inputs)], references[len(inputs) :]
    return Segment(save_file, tuple(start), tuple(end)), marks_by_name(model, tensors)


def _values(model: Model) -> list[Value]:
    graph = model.graph
    made = [value for node in graph for value in node.outputs]
    return [*graph.inputs, *graph.initializers, *made]


def _unknown(model: Model, one: NamedTensor, values: Mapping[str, Value]) -> Problem:
    for around, node in _inner_nodes(model):
        if any(value.name == one.tensor for value in node.outputs):
            what = f"'{one.tensor}' lies inside {around}"
            return problem(one.at, what, _OUTSIDE, "name a tensor outside it")
    hint = suggestion(one.tensor, values)
    return problem(one.at, f"the model has no tensor '{one.tensor}'", "", hint)
