"""Cuts a segment out of the end2end model, graph in and graph out; must not touch disk or torch."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath

import onnx_ir as ir

from partition_core.cutting.graph_marks import MARK_DOMAINS, is_mark
from partition_core.cutting.graph_walk import bodies
from partition_core.cutting.segment_boundary import Boundary, renamed
from partition_core.cutting.segment_scope import Scope, scope_of
from partition_core.recipe import Segment

_INITIALIZERS_ARE_INPUTS_UP_TO = 3
_C_WORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long main register restrict return short signed sizeof static struct switch typedef union unsigned
void volatile while
"""
_RESERVED = frozenset(re.findall(r"\w+", _C_WORDS))


def cut(model: ir.Model, segment: Segment, at: str) -> ir.Model:
    """Return `segment` of `model` as a model of its own, without Mark nodes.

    `at` is the YAML path of the segment, such as `partition.segments[0]`. Equal models give equal
    bytes; `model` is not changed and its weights are shared by reference. Raises CutError with
    all problems of the segment.
    """
    scope = scope_of(model, segment, at)
    graph, copies = _copied(model.graph, scope)
    _apart(graph, scope.inputs, copies)
    functions = _used_functions(model, graph)
    for part in (graph, *(function.graph for function in functions)):
        _collapse_marks(part)
        _drop_mark_imports(part)
    for value in _values(graph):
        _rename_symbols(value, scope.symbols)
    _set_outputs(graph, scope.outputs, copies)
    _name_boundary(graph, scope)
    graph.name = graph_name(segment.save_file)
    if model.ir_version <= _INITIALIZERS_ARE_INPUTS_UP_TO:
        graph.inputs.extend(graph.initializers.values())
    return ir.Model(
        graph,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        functions=functions,
        metadata_props=dict(model.metadata_props),
        device_configurations=model.device_configurations,
    )


def graph_name(save_file: str) -> str:
    """Return the C identifier that the graph in `save_file` is named."""
    stem = re.sub(r"\W", "_", PurePosixPath(save_file).stem, flags=re.ASCII)
    return f"segment_{stem}" if not stem or stem[0].isdigit() or stem in _RESERVED else stem


def _copied(graph: ir.Graph, scope: Scope) -> tuple[ir.Graph, dict[ir.Value, ir.Value]]:
    # Also returns the copy of each value of the scope; that of a start is the segment's input.
    starts = [item.value for item in scope.inputs]
    view = ir.GraphView(
        starts,
        (),
        nodes=scope.walk.nodes,
        initializers=scope.walk.initializers,
        doc_string=graph.doc_string,
        opset_imports=graph.opset_imports,
        metadata_props=graph.metadata_props,
    )
    made = view.clone()
    copies: dict[ir.Value, ir.Value] = {}
    for node, twin in zip(scope.walk.nodes, made, strict=True):
        copies.update(zip(node.outputs, twin.outputs, strict=True))
    copies.update(zip(scope.walk.initializers, made.initializers.values(), strict=True))
    copies.update(zip(starts, made.inputs, strict=True))
    return made, copies


def _apart(
    graph: ir.Graph, inputs: Iterable[Boundary], copies: Mapping[ir.Value, ir.Value]
) -> None:
    # A node with several outputs may be needed although one of them is a start: in the copy its
    # users read the node, but must read the input.
    starts = {item.value.name: copies[item.value] for item in inputs if item.value.producer()}
    for node in graph:
        for value in node.outputs:
            if value.name in starts:
                value.replace_all_uses_with(starts[value.name])


def _used_functions(model: ir.Model, graph: ir.Graph) -> list[ir.Function]:
    used: set[ir.OperatorIdentifier] = set()
    pending = list(graph.all_nodes())
    while pending:
        node = pending.pop()
        identifier = node.op_identifier()
        if identifier in model.functions and identifier not in used and not is_mark(node):
            used.add(identifier)
            pending.extend(model.functions[identifier].all_nodes())
    return [function.clone() for key, function in model.functions.items() if key in used]


def _collapse_marks(graph: ir.Graph) -> None:
    for node in list(graph):
        for body in bodies(node):
            _collapse_marks(body)
        source = node.inputs[0] if is_mark(node) else None
        if source is None:
            continue
        if node.outputs[0].is_graph_output():
            # A body or a function may not return a value from outside it, nor one value twice.
            node.domain, node.op_type, node.overload = "", "Identity", ""
            node.attributes.clear()
        else:
            node.outputs[0].replace_all_uses_with(source)
            graph.remove(node)


def _drop_mark_imports(graph: ir.Graph) -> None:
    used = {node.domain for node in graph.all_nodes()}
    for domain in MARK_DOMAINS:
        if domain not in used:
            graph.opset_imports.pop(domain, None)


def _rename_symbols(value: ir.Value, symbols: Mapping[str, str]) -> None:
    if not symbols or value.shape is None:
        return
    for axis, dim in enumerate(value.shape):
        if not isinstance(dim, int) and dim.value is not None:
            value.shape[axis] = renamed(dim.value, symbols)


def _set_outputs(
    graph: ir.Graph, outputs: Iterable[Boundary], copies: Mapping[ir.Value, ir.Value]
) -> None:
    for item in outputs:
        value = copies[item.value]
        if value.producer() is None or value.is_graph_output():
            # An input or a weight cannot leave under a name of its own, nor one value twice.
            node = ir.node("Identity", [value], name=f"output_{item.name}")
            graph.append(node)
            value = node.outputs[0]
        graph.outputs.append(value)


def _name_boundary(graph: ir.Graph, scope: Scope) -> None:
    boundary = [*graph.inputs, *graph.outputs]
    items = (*scope.inputs, *scope.outputs)
    _make_room(graph, {item.name for item in items}, frozenset(boundary))
    for value, item in zip(boundary, items, strict=True):
        # Naming a value names its tensor too, which the end2end model shares.
        value.const_value = None
        value.name = item.name
        value.type = value.type or ir.TensorType(item.dtype)
        value.shape = value.shape or ir.Shape(item.dims)
        for axis, dim in enumerate(item.dims):
            value.shape[axis] = dim


def _make_room(graph: ir.Graph, names: Collection[str], boundary: Collection[ir.Value]) -> None:
    # Values inside bodies count: one with the name of a boundary would hide it there.
    inner = [value for value in _values(graph) if value not in boundary]
    taken = {value.name for value in inner} | set(names)
    for value in inner:
        if value.name not in names:
            continue
        number = 1
        while f"{value.name}_{number}" in taken:
            number += 1
        _rename(value, f"{value.name}_{number}")
        taken.add(value.name)


def _rename(value: ir.Value, name: str) -> None:
    owner = value.graph
    if value.const_value is not None:
        value.const_value = _same_tensor(value.const_value) if value.is_initializer() else None
    order = list(owner.initializers.values()) if owner and value.is_initializer() else []
    value.name = name
    if owner and order:
        # Renaming moves an initializer to the last place.
        owner.initializers.clear()
        for initializer in order:
            owner.initializers.add(initializer)


def _same_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    if isinstance(tensor, ir.ExternalTensor):
        return copy.copy(tensor)
    return ir.serde.deserialize_tensor(ir.serde.serialize_tensor(tensor))


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from (v for v in graph.initializers.values() if not v.is_graph_input())
    for node in graph:
        yield from node.outputs
        for body in bodies(node):
            yield from _values(body)
