"""Marks for a model that has no Mark nodes: tensors by their names; must not touch disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from partition_core.base.errors import CutError, Problem, problem, suggestion
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.marks import MarkedTensor, MarkTable, unmarked_value
from partition_core.graph.walk import all_nodes, nodes_within
from partition_core.recipe.mark_reference import MarkReference, Side
from partition_core.recipe.values import Segment, TensorName


@dataclass(frozen=True)
class NamedTensor:
    """The tensor `tensor` of the main graph as one side of a mark, at `path` of it.

    `at` is where it is named, such as a YAML path. `call` is the number of the call. `label` is its
    name in messages, by default that of the tensor.
    """

    mark: str
    side: Side
    path: tuple[str, ...]
    tensor: str
    at: str
    call: int = 0
    label: str = ""


def tensor_names(model: Model, names: Sequence[tuple[str, TensorName]]) -> list[str]:
    """Return the name of the tensor that each of `names` means; each comes after its YAML path.

    Raises CutError with a problem for every node that is not in the main graph, or does not have
    the output. `marks_by_name` checks that the tensors exist.
    """
    nodes: dict[str, list[Node]] = {}
    for node in model.graph:
        nodes.setdefault(node.name, []).append(node)
    tensors = [_tensor_name(model, nodes, name, at) for at, name in names]
    problems = dict.fromkeys(item for item in tensors if isinstance(item, Problem))
    CutError.refuse(problems)
    return [item for item in tensors if isinstance(item, str)]


def _tensor_name(
    model: Model, nodes: Mapping[str, list[Node]], name: TensorName, at: str
) -> str | Problem:
    if name.node is None:
        return name.tensor or ""
    namesakes = nodes.get(name.node, [])
    if not namesakes:
        return _unknown_node(model, name.node, nodes, at)
    if len(namesakes) > 1:
        what = f"{len(namesakes)} nodes are named '{name.node}'"
        return problem(at, what, "expected one", "name the tensor itself")
    outputs = [value.name for value in namesakes[0].outputs]
    listed = ", ".join(f"{index} ('{output}')" for index, output in enumerate(outputs) if output)
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
    known = [node for node in nodes if node]
    remedy = suggestion(name, known) if known else "name tensors: its nodes have no names"
    return problem(at, f"the model has no node '{name}'", "", remedy)


def _inner_nodes(model: Model) -> Iterator[tuple[str, Node]]:
    """Yield every node that is not in the main graph, with a description of what encloses it."""
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
    marked: list[MarkedTensor] = []
    problems: list[Problem] = []
    for order, named in enumerate(tensors):
        value = values.get(named.tensor)
        if value is None:
            problems.append(_unknown(model, named, values))
            continue
        marked.append(
            MarkedTensor(
                mark=named.mark,
                call=named.call,
                side=named.side,
                path=named.path,
                order=order,
                value=unmarked_value(value),
                marked_value=value,
                enclosing="",
                dtype=None,
                shape=None,
                label=named.label or named.tensor,
            )
        )
    CutError.refuse(problems)
    return MarkTable(tuple(marked))


def between(
    model: Model, inputs: Sequence[str], outputs: Sequence[str], save_file: str
) -> tuple[Segment, MarkTable]:
    """Return the segment from the tensors `inputs` to the tensors `outputs`, and its marks.

    Its boundary has the tensors' own names. Raises CutError as `marks_by_name` does.
    """
    tensors = [NamedTensor("start", "input", (n,), n, "inputs") for n in inputs]
    tensors += [NamedTensor("end", "output", (n,), n, "outputs") for n in outputs]
    references = [MarkReference(named.mark, named.side, 0, named.path) for named in tensors]
    start, end = references[: len(inputs)], references[len(inputs) :]
    return Segment(save_file, tuple(start), tuple(end)), marks_by_name(model, tensors)


def _values(model: Model) -> list[Value]:
    graph = model.graph
    outputs = [value for node in graph for value in node.outputs]
    return [*graph.inputs, *graph.initializers, *outputs]


def _unknown(model: Model, named: NamedTensor, values: Mapping[str, Value]) -> Problem:
    for around, node in _inner_nodes(model):
        if any(value.name == named.tensor for value in node.outputs):
            what = f"'{named.tensor}' lies inside {around}"
            return problem(named.at, what, _OUTSIDE, "name a tensor outside it")
    hint = suggestion(named.tensor, values)
    return problem(named.at, f"the model has no tensor '{named.tensor}'", "", hint)
