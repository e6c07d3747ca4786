"""Puts Mark nodes into a model: graph in, graph out; must not touch disk or torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from partition_core.graph.file import graph_reader as at
from partition_core.graph.file.attributes import (
    INT,
    INTS,
    IS_INT,
    IS_INTS,
    IS_TEXT,
    NAME,
    TEXT,
    TYPE,
)
from partition_core.graph.file.graph import Function, Graph, Key, Model, Node, Value
from partition_core.graph.file.value_type import type_of
from partition_core.graph.file.wire import counted, named, sized
from partition_core.graph.inference import inferred_info
from partition_core.graph.marks import MARK_ATTRIBUTES, MARK_DOMAINS, MARK_OP, MarkedTensor, is_mark
from partition_core.graph.walk import all_nodes

_DOMAIN, _VERSION = MARK_DOMAINS[0], 1
FIRST_WITH_FUNCTIONS = 8
"""The IR version in which a model got functions of its own."""
_NO_OPSET = 13
_FUNCTION_ATTRIBUTE = 6  # the field of FunctionProto


def put_marks(model: Model, tensors: Sequence[MarkedTensor]) -> Model:
    """Return `model` with a Mark node for each of `tensors`, in their order, and Mark functions.

    Every reader of a marked tensor, also in a body, reads the output of its last Mark node; inputs
    and outputs of the model keep their names. The graph of `model` is consumed. A model from before
    functions gets IR version 8.
    """
    graph = model.graph
    used = _names(graph)
    latest: dict[Value, Value] = {}
    behind: dict[Node | None, list[Node]] = {}
    infos = {tensor.marked_value: _info(model, tensor.marked_value) for tensor in tensors}
    for tensor in tensors:
        value = tensor.marked_value
        node = _mark_node(tensor, latest.get(value, value), infos[value], used)
        latest[value] = node.outputs[0]
        behind.setdefault(value.producer, []).append(node)
    _redirect(graph, latest)
    front = behind.get(None, [])
    graph.nodes = [*front, *(n for node in graph for n in (node, *behind.get(node, ())))]
    functions = mark_functions(model)
    return replace(
        model,
        ir_version=max(model.ir_version, FIRST_WITH_FUNCTIONS) if functions else model.ir_version,
        opset_imports={**model.opset_imports, **_missing_imports(model)},
        functions={**model.functions, **functions},
        inferred=None,
    )


def mark_functions(model: Model) -> dict[Key, Function]:
    """Return the functions that the Mark nodes of `model` call and that it lacks."""
    return at.read_model(mark_definitions(model)).functions


def mark_definitions(model: Model) -> bytes:
    """Return, as part of a ModelProto, the definitions that the Mark nodes of `model` lack.

    Appended to the bytes of the model's file it makes one that runs (Protocol Buffers, "Encoding":
    the last value of a scalar field wins, repeated fields and messages are merged).
    """
    imports = _missing_imports(model)
    missing = [
        sized(at.FUNCTIONS, _mark_function(domain, _opset(model)))
        for domain in _mark_domains(model)
        if (domain, MARK_OP, "") not in model.functions
    ]
    version = max(model.ir_version, FIRST_WITH_FUNCTIONS) if missing else model.ir_version
    opsets = [sized(at.IMPORTS, _import(domain, number)) for domain, number in imports.items()]
    return b"".join([counted(at.IR_VERSION, version), sized(at.GRAPH, b""), *opsets, *missing])


def _mark_domains(model: Model) -> list[str]:
    used = {node.domain for node in all_nodes(model.graph) if is_mark(node)}
    for function in model.functions.values():
        used |= {node.domain for node in all_nodes(function.graph) if is_mark(node)}
    return sorted(used)


def _missing_imports(model: Model) -> dict[str, int]:
    domains = _mark_domains(model)
    needed = dict.fromkeys(domains, _VERSION)
    if domains and not {"", "ai.onnx"} & set(model.opset_imports):
        needed[""] = _NO_OPSET
    return {name: version for name, version in needed.items() if name not in model.opset_imports}


def _opset(model: Model) -> int:
    known = model.opset_imports
    return known.get("", known.get("ai.onnx", _NO_OPSET))


def _names(graph: Graph) -> set[str]:
    names = {value.name for value in (*graph.inputs, *graph.initializers)}
    for node in graph:
        names.update(value.name for value in node.outputs)
        for body in node.bodies:
            names |= _names(body)
    return names


def _info(model: Model, value: Value) -> bytes:
    # Some runtimes do not infer the type of a mark's output from the function.
    if value.tensor is not None:
        return value.tensor.info
    return value.info if type_of(value.info) else inferred_info(model, value.name)


def _mark_node(tensor: MarkedTensor, value: Value, info: bytes, used: set[str]) -> Node:
    kind = type_of(info)
    dims = kind.dims if kind is not None else None
    words = {"func": tensor.mark, "type": tensor.side, "name": ".".join(tensor.path)}
    numbers = {"func_id": tensor.call, "id": tensor.order, "dtype": kind.dtype if kind else 0}
    entries = [
        *(_attribute(key, named(TEXT, word), IS_TEXT) for key, word in words.items()),
        *(_attribute(key, counted(INT, number), IS_INT) for key, number in numbers.items()),
    ]
    if dims is not None:
        sizes = [dim if isinstance(dim, int) else -1 for dim in dims]
        content = b"".join(counted(INTS, size) for size in sizes)
        entries.append(_attribute("shape", content, IS_INTS))
    name = str(tensor.reference)
    message = named(at.NODE_NAME, name) + named(at.OP_TYPE, MARK_OP)
    message += b"".join(entries) + named(at.DOMAIN, _DOMAIN)
    node = Node(message, name, MARK_OP, _DOMAIN, "", [value], [], written_names=())
    marked = _free_name(f"{tensor.marked_value.name}_marked", used)
    node.outputs.append(Value(marked, info, producer=node))
    return node


def _free_name(name: str, used: set[str]) -> str:
    free, number = name, 1
    while free in used:
        number += 1
        free = f"{name}_{number}"
    used.add(free)
    return free


def _redirect(graph: Graph, latest: Mapping[Value, Value]) -> None:
    for inner in _graphs(graph):
        for node in inner:
            node.inputs = [None if v is None else latest.get(v, v) for v in node.inputs]
        if inner is not graph:
            inner.outputs = [latest.get(value, value) for value in inner.outputs]
    for value in dict.fromkeys(graph.outputs):
        # A node's value becomes an output behind its marks, under the output's name.
        marked = latest.get(value)
        if marked is not None and value.producer is not None:
            value.name, marked.name = marked.name, value.name
            graph.outputs = [marked if old is value else old for old in graph.outputs]


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in all_nodes(graph):
        yield from node.bodies


def _attribute(name: str, content: bytes, kind: int) -> bytes:
    return sized(at.ATTRIBUTES, named(NAME, name) + content + counted(TYPE, kind))


def _import(domain: str, version: int) -> bytes:
    return named(1, domain) + counted(2, version)


def _mark_function(domain: str, opset: int) -> bytes:
    node = named(1, "tensor") + named(2, "marked") + named(at.OP_TYPE, "Identity")
    return b"".join(
        [
            named(at.FUNCTION_NAME, MARK_OP),
            named(at.FUNCTION_INPUT, "tensor"),
            named(at.FUNCTION_OUTPUT, "marked"),
            *(named(_FUNCTION_ATTRIBUTE, attribute) for attribute in MARK_ATTRIBUTES),
            sized(at.FUNCTION_NODE, node),
            sized(at.FUNCTION_IMPORTS, _import("", opset)),
            named(at.FUNCTION_DOMAIN, domain),
        ]
    )
