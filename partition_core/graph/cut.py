"""Cuts a segment out of a model, graph in and graph out; must not touch disk or torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from partition_core.graph.boundary import renamed
from partition_core.graph.file.graph import Function, Graph, Key, Model, Node, Value
from partition_core.graph.file.wire import named
from partition_core.graph.graph_copy import Copy, copied_function
from partition_core.graph.inference import infer_again
from partition_core.graph.mark_nodes import FIRST_WITH_FUNCTIONS
from partition_core.graph.marks import MARK_DOMAINS, MarkTable, is_mark
from partition_core.graph.scope import Scope, scope_of
from partition_core.graph.walk import all_nodes
from partition_core.recipe.values import Segment

_INITIALIZERS_ARE_INPUTS_UP_TO = 3
# ONNX, "Versioning", "Released Versions"; later opsets came with versions that have functions.
_IR_VERSIONS = {9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7}
_C_WORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long main register restrict return short signed sizeof static struct switch typedef union unsigned
void volatile while
"""
_RESERVED = frozenset(re.findall(r"\w+", _C_WORDS))


def cut(model: Model, segment: Segment, at: str, table: MarkTable | None = None) -> Model:
    """Return `segment` of `model` as a model of its own, without Mark nodes (`Copy.nodes`).

    `at` is the YAML path of the segment, such as `partition.segments[0]`; `table` has the
    marks that its references select from, by default the model's own. Equal models give equal
    bytes; `model` is not changed and its weights are shared by reference. Raises CutError with
    all problems of the segment.
    """
    scope = scope_of(model, segment, at, table)
    graph, copy = _copied(model.graph, scope)
    functions = _used_functions(model, graph)
    _set_outputs(graph, scope, copy)
    _name_boundary(graph, scope)
    graph.name = graph_name(segment.save_file)
    graph.other_infos = list(_infos_of(functions, model.graph))
    if model.ir_version <= _INITIALIZERS_ARE_INPUTS_UP_TO:
        _list_as_inputs(graph)
    result = replace(
        model,
        ir_version=_ir_version(model, functions),
        graph=graph,
        opset_imports=_without_marks(model.opset_imports, graph),
        functions={key: _without_marks_inside(function) for key, function in functions.items()},
        inferred=None,
    )
    if segment.inputs:
        infer_again(result)
    return result


def graph_name(save_file: str) -> str:
    """Return the C identifier that the graph in `save_file` is named."""
    stem = re.sub(r"\W", "_", PurePosixPath(save_file).stem, flags=re.ASCII)
    return f"segment_{stem}" if not stem or stem[0].isdigit() or stem in _RESERVED else stem


def _copied(graph: Graph, scope: Scope) -> tuple[Graph, Copy]:
    def rename(symbol: str) -> str:
        return renamed(symbol, scope.symbols)

    copy = Copy(rename if scope.symbols else None, scope.walk.substitutes)
    segment = Graph(rest=graph.rest)
    # The starts come first: their readers read the segment's input, even if a node of the segment
    # makes the same value since another of its outputs is needed.
    for item in scope.inputs:
        segment.inputs.append(copy.value(item.value, is_input=True))
    segment.initializers = [copy.value(value) for value in scope.walk.initializers]
    segment.nodes = copy.nodes(scope.walk.nodes, ())
    segment.annotations = copy.annotations(graph.annotations)
    return segment, copy


def _used_functions(model: Model, graph: Graph) -> dict[Key, Function]:
    used: set[Key] = set()
    pending = list(all_nodes(graph))
    while pending:
        key = pending.pop().key
        if key in model.functions and key not in used:
            used.add(key)
            pending.extend(n for n in all_nodes(model.functions[key].graph) if not is_mark(n))
    return {key: function for key, function in model.functions.items() if key in used}


def _ir_version(model: Model, functions: Mapping[Key, Function]) -> int:
    """Return the IR version of a segment: without functions, that of a runtime of its opset."""
    if functions or not model.functions or model.ir_version != FIRST_WITH_FUNCTIONS:
        return model.ir_version
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    return _IR_VERSIONS.get(opset, model.ir_version)


def _without_marks_inside(function: Function) -> Function:
    imports = _without_marks(function.opset_imports, function.graph)
    if imports == function.opset_imports and not any(map(is_mark, all_nodes(function.graph))):
        return function
    return copied_function(function, imports)


def _without_marks(imports: Mapping[str, int], graph: Graph) -> dict[str, int]:
    used = {node.domain for node in all_nodes(graph) if not is_mark(node)}
    idle = [domain for domain in MARK_DOMAINS if domain not in used]
    return {domain: version for domain, version in imports.items() if domain not in idle}


def _infos_of(functions: Iterable[Key], graph: Graph) -> Iterator[tuple[str, bytes]]:
    # Before IR version 10 the types in a function are in the main graph, under such names.
    heads = tuple(f"{domain}::{name}/" for domain, name, _ in functions)
    yield from (item for item in graph.other_infos if item[0].startswith(heads))


def _set_outputs(graph: Graph, scope: Scope, copy: Copy) -> None:
    entered = {(item.value, item.name) for item in scope.inputs}
    for item in scope.outputs:
        # Where the mark itself is copied, it is the value that is rounded (`Copy.nodes`).
        value = copy.twins.get(item.tensor.marked_value, copy.twins[item.value])
        passes = (item.value, item.name) in entered
        if value in graph.outputs or (value.producer is None and not passes):
            # An input or a weight cannot be an output under another name, nor one value twice.
            node = identity_node(value, item.name)
            value = node.outputs[0]
            graph.nodes.append(node)
        graph.outputs.append(value)


def identity_node(value: Value, output: str) -> Node:
    """Return a node that gives `value` again, as a new value without a name, for `output`."""
    name = f"output_{output}"
    node = Node(
        message=named(3, name) + named(4, "Identity"),
        name=name,
        op_type="Identity",
        domain="",
        overload="",
        inputs=[value],
        outputs=[],
        written_names=(),
    )
    node.outputs.append(Value("", producer=node))
    return node


def _name_boundary(graph: Graph, scope: Scope) -> None:
    boundary = [*graph.inputs, *graph.outputs]
    items = (*scope.inputs, *scope.outputs)
    _make_room(graph, {item.name for item in items}, frozenset(boundary))
    for value, item in zip(boundary, items, strict=True):
        value.name = item.name
        value.info = item.info(value.info)
    graph.output_infos = [value.info for value in graph.outputs]


def _make_room(graph: Graph, names: Collection[str], boundary: Collection[Value]) -> None:
    # Values in bodies count too: one with the name of a boundary would shadow it there.
    inner = [value for value in values_in(graph) if value not in boundary]
    used = {value.name for value in inner} | set(names)
    for value in inner:
        if value.name not in names:
            continue
        number = 1
        while f"{value.name}_{number}" in used:
            number += 1
        value.name = f"{value.name}_{number}"
        used.add(value.name)


def _list_as_inputs(graph: Graph) -> None:
    for value in graph.initializers:
        if value.tensor is not None and not value.tensor.sparse:
            value.info = value.info or value.tensor.info
            value.is_input = True
            graph.inputs.append(value)


def values_in(graph: Graph) -> Iterator[Value]:
    """Yield the values that `graph` and the bodies of its nodes hold."""
    yield from graph.inputs
    yield from (value for value in graph.initializers if not value.is_input)
    for node in graph:
        yield from node.outputs
        for body in node.bodies:
            yield from values_in(body)
