"""A graph whose nodes torch's optimizer left in a wrong order."""

from __future__ import annotations

import onnx_ir as ir

from partition_core.export.to_onnx import _is_sorted


def test_a_reader_before_its_maker_is_noticed_and_sorted() -> None:
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=(2,))
    first = ir.node("Relu", [x])
    second = ir.node("Exp", first.outputs)
    third = ir.node("Add", [x, *second.outputs])
    graph = ir.Graph([x], third.outputs, nodes=[third, first, second], opset_imports={"": 20})
    assert not _is_sorted(graph)
    graph.sort()
    assert [node.op_type for node in graph] == ["Relu", "Exp", "Add"]
    assert _is_sorted(graph)
