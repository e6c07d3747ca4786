"""Marks for a model that has no Mark nodes: tensors by their names; must not touch disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from partition_core.cutting.graph_marks import MarkedTensor, MarkTable, root
from partition_core.cutting.graph_walk import nodes_within
from partition_core.cutting.onnx_file.graph import Model, Value
from partition_core.errors import CutError, Problem, problem, suggestion
from partition_core.recipe import Segment
from partition_core.references import MarkReference, Side


@dataclass(frozen=True)
class NamedTensor:
    """The tensor `tensor` of the main graph as one side of a mark, at `path` of it.

    `at` is where it is named, such as a YAML path. `call` is the number of the call.
    """

    mark: str
    side: Side
    path: tuple[str, ...]
    tensor: str
    at: str
    call: int = 0


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
                label=one.tensor,
            )
        )
    if problems:
        raise CutError(*problems)
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
    for top in model.graph:
        inner = [value.name for node in nodes_within(top) for value in node.outputs]
        if one.tensor in inner:
            what = f"'{one.tensor}' lies inside a body of {top.op_type} node '{top.name}'"
            expected = "a segment starts and ends in the main graph"
            return problem(one.at, what, expected, "name a tensor outside it")
    hint = suggestion(one.tensor, values)
    return problem(one.at, f"the model has no tensor '{one.tensor}'", "", hint)
