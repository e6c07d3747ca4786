"""The part of a model that onnxruntime can run here, where it lacks an operator of the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from partition_core.backends.backend import MissingOperatorError
from partition_core.graph.constants import constants_of
from partition_core.graph.file.byte_mover import write_pieces
from partition_core.graph.file.graph import Graph, Model, Node, Value
from partition_core.graph.file.graph_writer import write_model
from partition_core.graph.file.tensor_writers import Referred
from partition_core.graph.file.wire import named
from partition_core.graph.marks import is_mark, unmarked_value
from partition_core.graph.walk import dependents, nodes_within, reads

_NAME = 1  # the field of ValueInfoProto


@dataclass(frozen=True)
class Runnable:
    """A model, or the part of one that needs none of the operators `missing`.

    A part also gives the tensors that the operators it lacks would read.
    """

    file: Path
    model: Model
    missing: tuple[str, ...] = ()


def runnable(whole: Runnable, load: Callable[[Runnable], object], scratch: Path) -> Runnable:
    """Return the part of a model that `load` takes; files without weights go to `scratch`.

    External data is looked for where the model has it. Raises what `load` raises if there is no
    such part.
    """
    part = whole
    while True:
        try:
            load(part)
        except MissingOperatorError as error:
            nodes = [node for node in part.model.graph if _needs(node, error)]
            if not nodes:
                raise
            model = without(part.model, nodes)
            if not any(node for node in model.graph if not is_mark(node)):
                raise
            target = scratch / f"part{len(part.missing)}.onnx"
            missing = tuple(dict.fromkeys((*part.missing, *map(_called, nodes))))
            write_pieces(write_model(model, Referred("")), target)
            part = Runnable(target, model, missing)
        else:
            return part


def without(model: Model, nodes: Collection[Node]) -> Model:
    """Return the part of `model` that depends on none of `nodes`, with what these need of it."""
    graph, constants = model.graph, constants_of(model)
    lost = dependents(graph, [value for node in nodes for value in node.outputs])
    kept = [n for n in graph if n not in nodes and lost.isdisjoint(n.outputs)]
    made = {value for node in kept for value in node.outputs}
    pairs = zip(graph.outputs, graph.output_infos, strict=True)
    outputs: dict[Value, bytes] = {value: info for value, info in pairs if value not in lost}
    for node in graph:
        if node in nodes or not lost.isdisjoint(node.outputs):
            for value in map(unmarked_value, reads(node)):
                if value in made and value not in constants and value not in lost:
                    outputs.setdefault(value, value.info or named(_NAME, value.name))
    part = Graph(
        graph.name,
        kept,
        graph.inputs,
        list(outputs),
        list(outputs.values()),
        graph.initializers,
        graph.annotations,
        [(name, info) for name, info in graph.other_infos if name not in {v.name for v in lost}],
        graph.rest,
    )
    return replace(model, graph=part, inferred=None)


def _needs(node: Node, error: MissingOperatorError) -> bool:
    return any(
        each.op_type == error.op_type
        and (error.domain is None or each.domain == error.domain)
        and (not error.node or each.name == error.node)
        for each in (node, *nodes_within(node))
    )


def _called(node: Node) -> str:
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return f"{operator}, node '{node.name}'" if node.name else operator
