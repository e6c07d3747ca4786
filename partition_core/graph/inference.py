"""Shape inference by onnx, without weights, for the types that a file leaves out."""

from __future__ import annotations

import re

from partition_core.base.child_process import DiedError, RaisedError, run_in_child
from partition_core.base.errors import CutError, Problem, problem
from partition_core.graph.file.graph import Graph, Model, Node
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.skeleton import skeleton_bytes
from partition_core.graph.walk import reads

SECONDS = 600
"""CPU time limit for onnx's check or inference of a model: 10,000 nodes take a minute."""
_ROOM, _ROOM_FOR_EACH = 400 << 20, 32
_LONG = 1 << 20
_LABEL = re.compile(r"\[\w+\] |Inference error\(s\): ")


def inferred_info(model: Model, name: str) -> bytes:
    """Return the ValueInfoProto that inference finds for `name` of the main graph, or nothing.

    The model is inferred once, when a type is first needed; its weights are not read, so that its
    size does not matter.
    """
    if model.inferred is None:
        model.inferred = _inferred(model)
    return model.inferred.get(name, b"")


def infer_again(model: Model) -> None:
    """Write the types of all tensors into `model` anew, whose inputs have got other sizes."""
    graph = model.graph
    model.inferred = None
    made = [value for node in graph for value in node.outputs if value.name]
    for value in made:
        value.info = value.info if value in graph.outputs else b""
    for value in made:
        value.info = inferred_info(model, value.name) or value.info
    graph.output_infos = [value.info for value in graph.outputs]


def room_for(content: bytes) -> int:
    """Return the memory limit, in bytes, for onnx to process a model without its weights.

    For a bogus shape in a file, onnx makes an object for each of its elements.
    """
    return _ROOM + _ROOM_FOR_EACH * len(content)


def crash_problem(where: str, what: str, error: DiedError) -> Problem:
    """Return the problem that native code crashed on a file."""
    return problem(
        where,
        f"{what} crashes on it ({error})",
        "expected a file that the library can read",
        "it is damaged, or the library has a bug: check it with the tool that made it",
    )


def _inferred(model: Model) -> dict[str, bytes]:
    import onnx

    content, propagates = skeleton_bytes(model), not _long_lists(model.graph)

    def inferred() -> bytes:
        result = onnx.shape_inference.infer_shapes(content, data_prop=propagates)
        return bytes(result.SerializeToString())

    try:
        graph = read_model(run_in_child(inferred, SECONDS, room_for(content))).graph
    except RaisedError:
        return {}  # the check of the cut segment reports what is wrong
    except DiedError as error:
        raise CutError(crash_problem("", "onnx's shape inference", error)) from error
    values = [value for node in graph for value in node.outputs]
    return {value.name: value.info for value in (*graph.inputs, *values) if value.info}


def inference_failure(model: Model) -> str:
    """Return why types of a model cannot be inferred, or an empty string if no reason is found."""
    import onnx

    if reason := order_problem(model.graph):
        return reason
    content = skeleton_bytes(model)

    def failure() -> bytes:
        try:
            onnx.shape_inference.infer_shapes(content, strict_mode=True)
        except onnx.shape_inference.InferenceError as error:
            # The lines after the first are about nodes that fail for the same reason.
            (first, *_) = str(error).split("\n", 1)
            return _LABEL.sub("", first).strip().encode("utf-8", "replace")
        return b""

    try:
        return run_in_child(failure, SECONDS, room_for(content)).decode()
    except (RaisedError, DiedError):
        return ""


def order_problem(graph: Graph) -> str:
    """Return which node of the main graph reads a later node's output, or an empty string."""
    done: set[object] = set()
    inside = set(graph.nodes)
    for node in graph.nodes:
        for value in reads(node):
            producer = value.producer
            if producer in inside and producer not in done and producer is not None:
                return (
                    f"its nodes are not in order: {_called(node)} reads '{value.name}' before "
                    f"{_called(producer)} makes it"
                )
        done.add(node)
    return ""


def _called(node: Node) -> str:
    return f"node '{node.name}'" if node.name else f"the unnamed {node.op_type} node"


def _long_lists(graph: Graph) -> bool:
    # To propagate shapes, onnx treats every 1-D tensor as one and makes an object for each element:
    # 700 million elements would take all memory.
    return any(
        value.tensor is not None and len(value.tensor.dims) == 1 and value.tensor.dims[0] > _LONG
        for value in graph.initializers
    )
