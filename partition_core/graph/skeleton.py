"""A model without its weights, for checks of structure and types only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from partition_core.graph.file.attributes import tensors_of
from partition_core.graph.file.byte_range import Range, content_of
from partition_core.graph.file.graph import Graph, Model, Node, Value
from partition_core.graph.file.graph_reader import DOMAIN
from partition_core.graph.file.graph_writer import write_model
from partition_core.graph.file.tensor import Tensor
from partition_core.graph.file.tensor_writers import SMALL, Inline
from partition_core.graph.file.wire import named, without
from partition_core.graph.marks import as_identity, is_mark
from partition_core.graph.operators import LONG_NAME, is_foreign

_UNREGISTERED = "unregistered"
"""A domain unknown to onnx, which neither rejects its operators nor infers their types."""


def skeleton_bytes(model: Model, *, for_onnx: bool = True) -> bytes:
    """Return an ONNX file in which the large weights of `model` are inputs of the graph.

    Small ones stay, since shape inference reads shapes and axes from them; raises CutError if they
    cannot be read. Mark nodes become Identity nodes. `for_onnx`, operators that only onnxruntime
    has in ONNX's domains are moved to a domain that onnx does not check.
    """
    imports = _imports(model.opset_imports) if for_onnx else {}
    graph = _readable(model.graph, imports)
    weights = {value: value.tensor for value in graph.initializers if value.tensor is not None}
    large = {value: tensor for value, tensor in weights.items() if _is_large(tensor)}
    constants = {node: tensor for node in graph if (tensor := _large_constant(node)) is not None}
    added = {value: tensor for value, tensor in large.items() if not value.is_input}
    added |= {node.outputs[0]: tensor for node, tensor in constants.items()}
    bare = replace(
        graph,
        nodes=[node for node in graph if node not in constants],
        inputs=[
            *graph.inputs,
            *(Value(value.name, value.info or tensor.info) for value, tensor in added.items()),
        ],
        initializers=[value for value in graph.initializers if value not in large],
    )
    skeleton = replace(model, graph=bare, opset_imports=imports or model.opset_imports)
    return b"".join(map(content_of, write_model(skeleton, Inline(model.folder))))


def _imports(imports: Mapping[str, int]) -> dict[str, int]:
    own = {"": imports[LONG_NAME]} if LONG_NAME in imports else {}
    return {**own, **imports, _UNREGISTERED: 1}


def _readable(graph: Graph, imports: Mapping[str, int]) -> Graph:
    return replace(graph, nodes=[_readable_node(node, imports) for node in graph])


def _readable_node(node: Node, imports: Mapping[str, int]) -> Node:
    if is_mark(node):
        return as_identity(node)
    if is_foreign(node, imports):
        node = _of_domain(node, _UNREGISTERED)
    elif node.domain == LONG_NAME:
        node = _of_domain(node, "")
    if node.bodies:
        return replace(node, bodies=[_readable(body, imports) for body in node.bodies])
    return node


def _of_domain(node: Node, domain: str) -> Node:
    message = without(content_of(node.message), DOMAIN) + named(DOMAIN, domain)
    return replace(node, message=message, domain=domain)


def _is_large(tensor: Tensor) -> bool:
    # Shape inference knows no operator that reads a sparse weight; runtimes read it as dense.
    return tensor.sparse or tensor.nbytes >= SMALL


def _large_constant(node: Node) -> Tensor | None:
    # A node with external data is in memory, one with much data inside is a range of its file.
    if node.op_type != "Constant" or not (node.external or isinstance(node.message, Range)):
        return None
    for tensor in tensors_of(node):
        if _is_large(tensor):
            return tensor
    return None
