"""Reads an ONNX file into a graph, without reading the bytes of its weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from partition_core.base.errors import CutError, Problem, problem
from partition_core.graph.file.byte_range import (
    ByteSource,
    EarlyEndError,
    File,
    Memory,
    Piece,
    Range,
    content_of,
)
from partition_core.graph.file.graph import (
    Annotation,
    Function,
    Graph,
    Key,
    Model,
    Node,
    Value,
)
from partition_core.graph.file.other_files import LONGEST, kind_of
from partition_core.graph.file.tensor import Folder, read_sparse_tensor, read_tensor
from partition_core.graph.file.value_type import type_of, with_open_dims
from partition_core.graph.file.wire import (
    Field,
    WireError,
    entry_of,
    fields,
    number,
    part_of,
    piece,
    text,
)

# Field numbers, by message.
IR_VERSION, GRAPH, IMPORTS, TRAINING, FUNCTIONS = 1, 7, 8, 20, 25
NODES, GRAPH_NAME, INITIALIZERS, INPUTS, OUTPUTS, INFOS = 1, 2, 5, 11, 12, 13
ANNOTATIONS, SPARSE_INITIALIZERS = 14, 15
NODE_INPUT, NODE_OUTPUT, NODE_NAME, OP_TYPE, ATTRIBUTES, DOMAIN, OVERLOAD = 1, 2, 3, 4, 5, 7, 8
BODY, BODIES, TENSOR, TENSORS, SPARSE, SPARSES = 6, 11, 5, 10, 22, 23
FUNCTION_NAME, FUNCTION_INPUT, FUNCTION_OUTPUT, FUNCTION_NODE = 1, 4, 5, 7
FUNCTION_IMPORTS, FUNCTION_DOMAIN, FUNCTION_INFOS, FUNCTION_OVERLOAD = 9, 10, 12, 13

_WEIGHTS = frozenset((INITIALIZERS, SPARSE_INITIALIZERS))
_DEEPEST = 50
# The two values of an attribute's field `type` for graphs.
_TYPE_IS_GRAPH = (b"\xa0\x01\x05", b"\xa0\x01\x0a")
_LOCATION = b"location"
_Scopes = list[dict[str, Value]]


def read_model(source: Path | bytes) -> Model:
    """Return the model in a file, or in the bytes of one.

    Raises CutError if the file cannot be read or is not an ONNX file.
    """
    where = "the model" if isinstance(source, bytes) else source.name
    try:
        content = Memory(source) if isinstance(source, bytes) else File(source)
        folder = Folder(None if isinstance(source, bytes) else source.parent)
        return _model(Range(content, 0, content.size), folder)
    except OSError as error:
        what = f"it cannot be read: {error.strerror}"
        raise CutError.at(where, what) from error
    except (WireError, EarlyEndError) as error:
        raise CutError(_no_model(where, content, error)) from error


def _no_model(where: str, content: ByteSource, error: CutError) -> Problem:
    kind = kind_of(content.read(0, LONGEST))
    if kind is None:
        return problem(where, error.problems[0].what)
    return problem(where, f"it is not an ONNX file: {kind.what}", "", kind.remedy)


def _model(message: Range, folder: Folder) -> Model:
    parts = fields(message, (GRAPH, FUNCTIONS))
    graphs = [piece(value) for key, value in parts if key >> 3 == GRAPH]
    if len(graphs) != 1:
        raise WireError(f"it has {len(graphs)} graphs")
    functions = [_function(piece(value)) for key, value in parts if key >> 3 == FUNCTIONS]
    read = (IR_VERSION, GRAPH, IMPORTS, TRAINING, FUNCTIONS)
    return Model(
        graph=read_graph(graphs[0]),
        ir_version=next((number(value) for key, value in parts if key >> 3 == IR_VERSION), 0),
        opset_imports=_imports(parts, IMPORTS),
        functions={function.key: function for function in functions},
        rest=[part for part in parts if part[0] >> 3 not in read],
        folder=folder,
    )


def _imports(parts: Iterable[Field], at: int) -> dict[str, int]:
    imports: dict[str, int] = {}
    for key, value in parts:
        if key >> 3 == at:
            inside = dict(fields(content_of(piece(value))))
            imports[text(inside.get(1 << 3 | 2, b""))] = number(inside.get(2 << 3, 0))
    return imports


def read_graph(message: Piece, around: _Scopes | None = None) -> Graph:
    """Return the graph in a GraphProto; `around` are the values of the graphs around it.

    Raises WireError and EOFError.
    """
    by: dict[int, list[int | Piece]] = {}
    rest: list[Field] = []
    for key, content in fields(message, _WEIGHTS):
        kind = key >> 3
        if kind in _READ:
            by.setdefault(kind, []).append(content)
        else:
            rest.append((key, content))
    scopes = [*(around or []), {}]
    if len(scopes) > _DEEPEST:
        raise WireError(f"its bodies are nested more than {_DEEPEST} deep")
    graph = Graph(name=text(by.get(GRAPH_NAME, [b""])[-1]), rest=rest)
    _read_inputs(graph, by.get(INPUTS, ()), scopes[-1])
    _read_initializers(graph, by, scopes[-1])
    graph.nodes = read_nodes(by.get(NODES, ()), scopes)
    _read_infos(graph, by.get(INFOS, ()), scopes[-1])
    for item in by.get(OUTPUTS, ()):
        info = with_open_dims(content_of(piece(item)))
        value = _known(_name_in(info), scopes)
        if scopes[-1].get(value.name) is value and not value.is_input and type_of(info):
            value.info = info
        graph.outputs.append(value)
        graph.output_infos.append(info)
    graph.annotations = [
        _annotation(content_of(piece(item)), scopes) for item in by.get(ANNOTATIONS, ())
    ]
    return graph


_READ = frozenset(
    (NODES, GRAPH_NAME, INITIALIZERS, INPUTS, OUTPUTS, INFOS, ANNOTATIONS, SPARSE_INITIALIZERS)
)


def _read_inputs(graph: Graph, items: Iterable[int | Piece], own: dict[str, Value]) -> None:
    for item in items:
        info = content_of(piece(item))
        name = _name_in(info)
        value = _new(Value(name, with_open_dims(info, name), is_input=True), own)
        graph.inputs.append(value)


def _read_initializers(
    graph: Graph, by: dict[int, list[int | Piece]], own: dict[str, Value]
) -> None:
    tensors = [read_tensor(piece(item)) for item in by.get(INITIALIZERS, ())]
    tensors += [read_sparse_tensor(piece(item)) for item in by.get(SPARSE_INITIALIZERS, ())]
    for tensor in tensors:
        value = own.get(tensor.name)
        if value is None or value.tensor is not None:
            value = _new(Value(tensor.name), own)
        value.tensor = tensor
        graph.initializers.append(value)


def _read_infos(graph: Graph, items: Iterable[int | Piece], own: dict[str, Value]) -> None:
    for item in items:
        info = with_open_dims(content_of(piece(item)))
        name = _name_in(info)
        value = own.get(name)
        if value is None:
            graph.other_infos.append((name, info))
        elif not value.is_input:
            value.info = info


def read_nodes(items: Iterable[int | Piece], scopes: _Scopes) -> list[Node]:
    """Return the nodes in some NodeProtos; their outputs join the innermost of `scopes`."""
    own = scopes[-1]
    nodes: list[Node] = []
    reads: list[list[str]] = []
    for item in items:
        node, inputs = _node(piece(item))
        for value in node.outputs:
            if value.name:
                _new(value, own)
        nodes.append(node)
        reads.append(inputs)
    # A body may name the output of a later outer node: first read all outputs, then all inputs.
    for node, inputs in zip(nodes, reads, strict=True):
        node.inputs = [_known(name, scopes) if name else None for name in inputs]
        _read_bodies(node, scopes)
    return nodes


def _node(message: Piece) -> tuple[Node, list[str]]:
    inputs: list[str] = []
    outputs: list[str] = []
    words = dict.fromkeys((NODE_NAME, OP_TYPE, DOMAIN, OVERLOAD), "")
    for key, value in fields(message):
        kind = key >> 3
        if kind == NODE_INPUT:
            inputs.append(text(value))
        elif kind == NODE_OUTPUT:
            outputs.append(text(value))
        elif kind in words:
            words[kind] = text(value)
    node = Node(
        message=message,
        name=words[NODE_NAME],
        op_type=words[OP_TYPE],
        domain=words[DOMAIN],
        overload=words[OVERLOAD],
        inputs=[],
        outputs=[],
        written_names=(*inputs, *outputs),
    )
    node.outputs = [Value(name, producer=node) for name in outputs]
    return node, inputs


def _read_bodies(node: Node, scopes: _Scopes) -> None:
    message = node.message
    if isinstance(message, bytes):
        node.external = _LOCATION in message
        if not node.external and not any(mark in message for mark in _TYPE_IS_GRAPH):
            return
    for key, value in fields(message):
        if key >> 3 != ATTRIBUTES:
            continue
        for inner, content in fields(piece(value)):
            if inner >> 3 in (BODY, BODIES):
                node.bodies.append(read_graph(piece(content), scopes))
            elif inner >> 3 in (TENSOR, TENSORS):
                node.external = node.external or read_tensor(piece(content)).external is not None


def _annotation(message: bytes, scopes: _Scopes) -> Annotation:
    value = _known(text(part_of(message, 1) or b""), scopes)
    pairs = [entry_of(content_of(piece(each))) for key, each in fields(message) if key >> 3 == 2]
    return Annotation(value, [(key, _known(name, scopes)) for key, name in pairs])


def _function(message: Piece) -> Function:
    parts = fields(message)
    words = {key >> 3: value for key, value in parts}
    own: dict[str, Value] = {}
    graph = Graph()
    for key, item in parts:
        if key >> 3 == FUNCTION_INPUT:
            graph.inputs.append(_new(Value(text(item), is_input=True), own))
    graph.nodes = read_nodes([v for k, v in parts if k >> 3 == FUNCTION_NODE], [own])
    _read_infos(graph, [v for k, v in parts if k >> 3 == FUNCTION_INFOS], own)
    outputs = [text(v) for k, v in parts if k >> 3 == FUNCTION_OUTPUT]
    graph.outputs = [_known(name, [own]) for name in outputs]
    changing = (FUNCTION_NODE, FUNCTION_IMPORTS, FUNCTION_INFOS)
    names = (FUNCTION_DOMAIN, FUNCTION_NAME, FUNCTION_OVERLOAD)
    domain, name, overload = (text(words.get(at, b"")) for at in names)
    key_of: Key = (domain, name, overload)
    return Function(
        key=key_of,
        graph=graph,
        opset_imports=_imports(parts, FUNCTION_IMPORTS),
        rest=[part for part in parts if part[0] >> 3 not in changing],
        message=message,
    )


def _name_in(info: bytes) -> str:
    return text(part_of(info, 1) or b"")


def _new(value: Value, own: dict[str, Value]) -> Value:
    if own.setdefault(value.name, value) is not value:
        raise WireError(f"two values of one graph are named '{value.name}'")
    return value


def _known(name: str, scopes: _Scopes) -> Value:
    for scope in reversed(scopes):
        if name in scope:
            return scope[name]
    # Undefined so far: the model is invalid, or an outer graph defines it later.
    return scopes[-1].setdefault(name, Value(name))
