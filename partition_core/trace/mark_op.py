"""The Mark operator: a torch custom op, and the ONNX node and function that it becomes.

A Mark returns its input unchanged. Its ONNX attributes carry MMDeploy's names and meanings
(`func`, `func_id`, `type`, `name`, `id`, `dtype`, `shape`).
"""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir
import onnxscript
import torch

from partition_core.graph.marks import MARK_ATTRIBUTES

DOMAIN = "partition"
VERSION = 1


@torch.library.custom_op("partition::mark", mutates_args=())
def mark_tensor(
    tensor: torch.Tensor, func: str, func_id: int, type: str, name: str, id: int
) -> torch.Tensor:
    """Return a copy of `tensor` (any shape and dtype); a graph keeps the call as a node."""
    return tensor.clone()


@mark_tensor.register_fake
def _fake_mark(
    tensor: torch.Tensor, func: str, func_id: int, type: str, name: str, id: int
) -> torch.Tensor:
    return torch.empty_like(tensor)


# Otherwise torch.export drops a mark on an argument that the function never reads.
torch.fx.has_side_effect(torch.ops.partition.mark.default)


def is_mark(node: ir.Node) -> bool:
    """Return whether a node is a Mark node."""
    return node.domain == DOMAIN and node.op_type == "Mark"


def use_idle_marks(graph: torch.fx.Graph) -> None:
    """Redirect later readers of a marked tensor to its mark, where nothing reads the mark itself.

    So a function may ignore an argument that its caller needs again, such as the labels in a
    class-agnostic suppression. A mark on a tensor without later readers is dropped.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    for mark in [node for node in graph.nodes if node.target is torch.ops.partition.mark.default]:
        if mark.users:
            continue
        source = mark.args[0]
        later = [user for user in source.users if order[user] > order[mark] and user.op != "output"]
        for user in later:
            user.replace_input_with(source, mark)
        if not later:
            graph.erase_node(mark)


def register_mark_schema() -> None:
    """Register the Mark operator with onnx, so that onnxscript builds it and checkers accept it."""
    if onnx.defs.has("Mark", DOMAIN):
        return
    schema = onnx.defs.OpSchema
    # A node has its attributes in the order of the schema's.
    kinds = dict.fromkeys(MARK_ATTRIBUTES, schema.AttrType.INT)
    kinds |= dict.fromkeys(("func", "type", "name"), schema.AttrType.STRING)
    kinds["shape"] = schema.AttrType.INTS
    onnx.defs.register_schema(
        schema(
            "Mark",
            DOMAIN,
            VERSION,
            doc="Identity that names a place where a model may be cut.",
            inputs=[schema.FormalParameter("tensor", "T")],
            outputs=[schema.FormalParameter("marked", "T")],
            type_constraints=[("T", sorted(_tensor_types()), "every tensor type")],
            # Not required: dtype and shape are known only after the model is translated.
            attributes=[
                schema.Attribute(name, kind, required=False) for name, kind in kinds.items()
            ],
        )
    )


def _tensor_types() -> set[str]:
    identity = onnx.defs.get_schema("Identity", 19)
    (constraint,) = identity.type_constraints
    return {kind for kind in constraint.allowed_type_strs if kind.startswith("tensor")}


def mark_translation() -> Any:
    """Return the onnxscript function that turns a `partition::mark` call into a Mark node."""
    domain = onnxscript.values.Opset(DOMAIN, VERSION)

    def mark(tensor: Any, func: str, func_id: int, type: str, name: str, id: int) -> Any:
        return domain.Mark(tensor, func=func, func_id=func_id, type=type, name=name, id=id)

    return mark


def complete_marks(model: ir.Model, opset: int) -> None:
    """Give every Mark node of `model` its `dtype` and `shape` and the model the Mark function."""
    for node in model.graph.all_nodes():
        if is_mark(node):
            value = node.outputs[0]
            dims = value.shape.dims if value.shape is not None else ()
            shape = [dim if isinstance(dim, int) else -1 for dim in dims]
            dtype = value.dtype.value if value.dtype is not None else 0
            node.attributes["dtype"] = ir.AttrInt64("dtype", dtype)
            node.attributes["shape"] = ir.AttrInt64s("shape", shape)
    function = _mark_function(opset)
    model.functions[function.identifier()] = function
    model.opset_imports[DOMAIN] = VERSION


def _mark_function(opset: int) -> ir.Function:
    tensor = ir.val("tensor")
    identity = ir.node("Identity", [tensor], outputs=[ir.val("marked")])
    graph = ir.Graph([tensor], identity.outputs, nodes=[identity], opset_imports={"": opset})
    attributes = [ir.Attr(name, ir.AttributeType.UNDEFINED, None) for name in MARK_ATTRIBUTES]
    return ir.Function(DOMAIN, "Mark", graph=graph, attributes=attributes)
