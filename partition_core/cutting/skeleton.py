"""A model without its weights, for those who look at structure and types only."""

from __future__ import annotations

from dataclasses import replace

from partition_core.cutting.graph_marks import as_identity, is_mark
from partition_core.cutting.onnx_file.byte_range import content_of
from partition_core.cutting.onnx_file.graph import Model, Value
from partition_core.cutting.onnx_file.graph_writer import write_model
from partition_core.cutting.onnx_file.weights import SMALL, Inline


def skeleton_bytes(model: Model) -> bytes:
    """Return an ONNX file in which the large weights of `model` are inputs of the graph.

    Small ones stay, since shape inference reads shapes and axes from them; they are read, so
    CutError is raised if they cannot be. Mark nodes are Identity nodes.
    """
    graph = model.graph
    large = [value for value in graph.initializers if value.tensor and _is_large(value)]
    inputs = [
        Value(value.name, value.info or (value.tensor.info if value.tensor else b""))
        for value in large
        if not value.is_input
    ]
    left = set(large)
    bare = replace(
        graph,
        nodes=[as_identity(node) if is_mark(node) else node for node in graph],
        inputs=[*graph.inputs, *inputs],
        initializers=[value for value in graph.initializers if value not in left],
    )
    pieces = write_model(replace(model, graph=bare), Inline(model.folder))
    return b"".join(map(content_of, pieces))


def _is_large(value: Value) -> bool:
    # Shape inference knows no operator that reads a sparse weight; runtimes read it as dense.
    return value.tensor is not None and (value.tensor.sparse or value.tensor.weight >= SMALL)
