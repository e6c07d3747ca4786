"""Lowers an ONNX model of torch's opset to an older one, or names what stands in the way.

Why onnx's own converter does not do it is in `docs/design_notes.md`.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from partition_core.base.errors import ExportError, Problem, problem
from partition_core.base.wording import counted
from partition_core.graph.mark_nodes import FIRST_WITH_FUNCTIONS
from partition_core.trace.older_forms import FORMS, Builder, ObstacleError, count_of
from partition_core.trace.opset import TORCH_OPSET


def to_older_opset(model: ir.Model, opset: int) -> None:
    """Make `model`, which torch.onnx built, one of `opset`, older than its own.

    Names of values stay, and so does what nodes know of their modules. Raises ExportError with a
    problem for each operator, or use of one, that `opset` does not have.
    """
    builder = Builder(model.graph)
    obstacles: dict[tuple[str, int], list[ir.Node]] = {}
    for node in list(model.graph.all_nodes()):
        try:
            _lower(node, opset, builder)
        except ObstacleError as error:
            obstacles.setdefault((error.what, error.since), []).append(node)
    ExportError.refuse(
        _problem(opset, what, since, nodes) for (what, since), nodes in obstacles.items()
    )
    builder.remove_idle_constants()
    model.opset_imports[""] = opset
    if opset < TORCH_OPSET:
        model.ir_version = FIRST_WITH_FUNCTIONS  # Mark is one; segments may get an older one


def _lower(node: ir.Node, opset: int, builder: Builder) -> None:
    if node.domain:
        return
    for since, form in FORMS.get(node.op_type, ()):
        if opset < since:
            new = form(node, builder.at(node), since)
            if new is not None:
                builder.replace(node, new)
                return
    if what := _misfit(node, opset):
        newer = range(opset + 1, onnx.defs.onnx_opset_version() + 1)
        first = next((version for version in newer if not _misfit(node, version)), None)
        if first:  # otherwise no opset has it, which onnx.checker reports
            raise ObstacleError(what, first)


def _misfit(node: ir.Node, opset: int) -> str:
    """Return what `opset` lacks for a node, or nothing; what only names a default is removed."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return node.op_type
    newest = onnx.defs.get_schema(node.op_type).attributes
    for name in [name for name in node.attributes if name not in schema.attributes]:
        value = node.attributes[name].value
        default = newest[name].default_value if name in newest else onnx.AttributeProto()
        if not default.name or ir.serde.deserialize_attribute(default).value != value:
            return f"{node.op_type} with {name} {value}"
        del node.attributes[name]
    for kind, values, parameters, most in (
        ("input", node.inputs, schema.inputs, schema.max_input),
        ("output", node.outputs, schema.outputs, schema.max_output),
    ):
        count = count_of(values)
        if count > most:
            return f"{node.op_type} with {counted(count, kind)}"
        for position, value in enumerate(values[:count]):
            types = parameters[min(position, len(parameters) - 1)].types
            if value is not None and isinstance(value.type, ir.TensorType):
                dtype = value.type.dtype.name.lower()
                if f"tensor({dtype})" not in types:
                    return f"{node.op_type} of {_DTYPES.get(dtype, dtype)}"
    return ""


_DTYPES = {"float": "float32", "double": "float64"}


def _problem(opset: int, what: str, since: int, nodes: list[ir.Node]) -> Problem:
    module = nodes[0].metadata_props.get("module")
    where = f"node '{nodes[0].name}'" + (f" of module '{module}'" if module else "")
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return problem(
        "export.opset",
        f"opset {opset} has no {what}, which is {where}{more}",
        f"expected an opset from {since}",
        "or export a model without it",
    )
