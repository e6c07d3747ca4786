"""Merges the segments of a partition into one model, along their edges; must not touch disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from partition_core.base.errors import CutError, Problem, problem
from partition_core.chain.pieces import MODEL_INPUT, MODEL_OUTPUT, Edge, SegmentBoundary, Tensor
from partition_core.graph.cut import identity_node, values_in
from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Function, Graph, Key, Model, Value
from partition_core.graph.file.value_type import DTYPES, with_name
from partition_core.graph.file.wire import named
from partition_core.graph.graph_copy import Copy
from partition_core.graph.model_inputs import inputs_of
from partition_core.graph.walk import all_nodes
from partition_core.recipe.input_forms import TensorType, dims_misfit


def misfits(model: Model, boundary: SegmentBoundary, at: str) -> Iterator[Problem]:
    """Yield a problem for each input or output of `model` that is not as `boundary` says.

    `at` is where the file is named. Dims may be free in `model` that are fixed in the boundary.
    """
    outputs = {value.name: value for value in model.graph.outputs}
    sides = (
        ("input", boundary.inputs, inputs_of(model)),
        ("output", boundary.outputs, outputs),
    )
    for side, tensors, actual in sides:
        wanted = {tensor.name: tensor for tensor in tensors}
        for name in [name for name in actual if name not in wanted]:
            yield problem(at, f"has an {side} '{name}'", f"expected {', '.join(wanted)}")
        for name, tensor in wanted.items():
            if name not in actual:
                yield problem(at, f"has no {side} '{name}'", f"expected {_expected(tensor)}")
            elif misfit := _misfit(actual[name], tensor):
                yield problem(
                    at, f"its {side} '{name}' is {misfit}", f"expected {_expected(tensor)}"
                )


def _misfit(value: Value, tensor: Tensor) -> str:
    kind = value.type
    if kind is None or kind.composed or kind.dtype not in DTYPES:
        return "" if kind is None or kind.text == tensor.dtype else kind.text
    actual = TensorType(DTYPES[kind.dtype], kind.dims)
    free = [None if isinstance(dim, str) else dim for dim in kind.dims or ()]
    sizes = [dim if isinstance(dim, int) else -1 for dim in tensor.dims]
    is_unlike = kind.dims is not None and dims_misfit("", free, sizes, "")
    return str(actual) if actual.dtype != tensor.dtype or is_unlike else ""


def _expected(tensor: Tensor) -> str:
    return str(TensorType(tensor.dtype, tensor.dims))


def merged(
    models: Mapping[str, Model],
    segments: Sequence[SegmentBoundary],
    edges: Sequence[Edge],
    outputs: Sequence[str],
    places: Mapping[str, str],
) -> Model:
    """Return one model of the segments in `models`, with the inputs of end2end and its `outputs`.

    Each model has the inputs and outputs of its boundary, in any order. `places` names the files
    in messages. Raises CutError for tensors that no segment gives, and for files whose opsets or
    functions contradict each other.
    """
    _check_edges(edges, outputs)
    opsets, functions = _imports(models, places), _functions(models, places)
    sources = {(edge.consumer, edge.input): (edge.producer, edge.output) for edge in edges}
    graph = Graph(name="merged")
    taken = {*outputs, *(edge.output for edge in edges if edge.producer == MODEL_INPUT)}
    nodes: set[str] = set()
    made: dict[tuple[str, str], Value] = {}
    for segment in segments:
        model = models[segment.save_file]
        copy = Copy()
        for name, value in inputs_of(model).items():
            source = sources[segment.save_file, name]
            if source not in made:
                made[source] = Value(source[1], with_name(value.info, source[1]), is_input=True)
                graph.inputs.append(made[source])
            copy.twins[value] = made[source]
        own = Graph()
        own.initializers = [
            copy.value(value)
            for value in (*model.graph.initializers, *_only_inputs(model))
            if value not in copy.twins
        ]
        for value in own.initializers:
            value.is_input = False
        own.nodes = copy.nodes(model.graph.nodes, ())
        _rename(own, taken, nodes)
        graph.initializers += own.initializers
        graph.nodes += own.nodes
        graph.annotations += copy.annotations(model.graph.annotations)
        for value in model.graph.outputs:
            made[segment.save_file, value.name] = copy.read(value)
    for name in outputs:
        source = sources[MODEL_OUTPUT, name]
        _add_output(graph, made[source], name)
    graph.output_infos = [value.info for value in graph.outputs]
    first = models[segments[0].save_file]
    return replace(
        first,
        graph=graph,
        ir_version=max(model.ir_version for model in models.values()),
        opset_imports=opsets,
        functions=functions,
        inferred=None,
    )


def _only_inputs(model: Model) -> list[Value]:
    # Before IR version 4 weights are inputs as well.
    listed = set(model.graph.initializers)
    return [v for v in model.graph.inputs if v.tensor is not None and v not in listed]


def _check_edges(edges: Sequence[Edge], outputs: Sequence[str]) -> None:
    given = {edge.input for edge in edges if edge.consumer == MODEL_OUTPUT}
    problems = [
        problem(edge.consumer, f"no segment gives its input '{edge.input}'")
        for edge in edges
        if not edge.producer
    ]
    problems += [
        problem("end2end.onnx", f"no segment gives its output '{name}'")
        for name in outputs
        if name not in given
    ]
    expected, remedy = (
        "expected segments that cover the model",
        "add the missing part to 'segments'",
    )
    CutError.refuse(replace(each, expected=expected, remedy=remedy) for each in problems)


def _imports(models: Mapping[str, Model], places: Mapping[str, str]) -> dict[str, int]:
    opsets: dict[str, tuple[int, str]] = {}
    problems: list[Problem] = []
    for name, model in models.items():
        for domain, version in model.opset_imports.items():
            known, other = opsets.setdefault(domain, (version, name))
            if known != version:
                what = f"has opset {version} of '{domain or 'ai.onnx'}'"
                expected = f"'{other}' has {known}, and a file has one"
                remedy = "convert the file with onnx.version_converter, or set 'export.opset'"
                problems.append(problem(places.get(name, name), what, expected, remedy))
    CutError.refuse(problems)
    return {domain: version for domain, (version, _) in opsets.items()}


def _functions(models: Mapping[str, Model], places: Mapping[str, str]) -> dict[Key, Function]:
    functions: dict[Key, tuple[Function, str]] = {}
    problems: list[Problem] = []
    for name, model in models.items():
        for key, function in model.functions.items():
            known, other = functions.setdefault(key, (function, name))
            if _content(known) != _content(function):
                what = f"its function '{key[0]}::{key[1]}' is another than that of '{other}'"
                remedy = "rename one of the two, or inline it with onnx.inliner"
                problems.append(problem(places.get(name, name), what, "", remedy))
    CutError.refuse(problems)
    return {key: function for key, (function, _) in functions.items()}


def _content(function: Function) -> list[bytes]:
    return [content_of(node.message) for node in function.graph]


def _rename(graph: Graph, taken: set[str], nodes: set[str]) -> None:
    """Give values and nodes of `graph` names that are not `taken`, and add them there."""
    for value in dict.fromkeys(values_in(graph)):
        if value.name:
            value.name = _free(value.name, taken)
    for node in all_nodes(graph):
        if node.name and (free := _free(node.name, nodes)) != node.name:
            # Of a field that is written twice, the last counts.
            node.name, node.message = free, content_of(node.message) + named(3, free)


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free


def _add_output(graph: Graph, value: Value, name: str) -> None:
    if value in graph.outputs or value.producer is None:
        node = identity_node(value, name)
        node.outputs[0].info = value.info
        value = node.outputs[0]
        graph.nodes.append(node)
    value.name = name
    value.info = with_name(value.info, name) if value.info else b""
    graph.outputs.append(value)
