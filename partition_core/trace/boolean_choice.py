"""Choices between booleans as logic: onnxruntime has no kernel of `Where` for them on CPUs."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.tape import Tape


def choose_by_logic(graph: ir.Graph) -> None:
    """Replace each `Where` of booleans in `graph` and its subgraphs by And, Or and Not."""
    for node in list(graph.all_nodes()):
        value = node.inputs[1] if node.op_type == "Where" and not node.domain else None
        if value is not None and value.dtype == ir.DataType.BOOL:
            _replace(node, graph if node.graph is None else node.graph)


def _replace(node: ir.Node, graph: ir.Graph | ir.Function) -> None:
    condition, value, other = node.inputs
    (result,) = node.outputs
    tape = Tape()

    def logic(kind: str, inputs: list[ir.Value | None], suffix: str) -> ir.Value:
        return tape.op(
            kind,
            inputs,
            name=f"{node.name}_{suffix}",
            metadata_props=node.metadata_props,
            output=ir.Value(name=f"{result.name}_{suffix}", type=ir.TensorType(ir.DataType.BOOL)),
        )

    taken = logic("And", [condition, value], "taken")
    rest = logic("And", [logic("Not", [condition], "not"), other], "rest")
    chosen = logic("Or", [taken, rest], "chosen")
    ir.convenience.replace_nodes_and_values(graph, node, [node], tape.nodes, [result], [chosen])
