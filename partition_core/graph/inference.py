"""Asks onnx for the types that a file leaves out, without its weights; the door to inference."""

from __future__ import annotations

import re

from partition_core.base.child_process import DiedError, RaisedError, run_in_child
from partition_core.base.errors import CutError, Problem, problem
from partition_core.graph.file.graph import Graph, Model, Node
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.skeleton import skeleton_bytes
from partition_core.graph.walk import reads

SECONDS = 600
"""Of a processor, for what onnx finds out about a model: a minute for 10,000 nodes."""
_ROOM, _ROOM_FOR_EACH = 400 << 20, 32
_LONG = 1 << 20
_LABEL = re.compile(r"\[\w+\] |Inference error\(s\): ")


def inferred_info(model: Model, name: str) -> bytes:
    """Return the ValueInfoProto that inference finds for `name` of the main graph, or nothing.

    The model is inferred once, when a type is first asked for; its weights are not read, so a
    model of any size can be.
    """
    if model.inferred is None:
        model.inferred = _inferred(model)
    return model.inferred.get(name, b"")


def room_for(content: bytes) -> int:
    """Return the bytes of memory that onnx may take to look at a model without its weights.

    A shape that the file makes up is made an object for each of its elements.
    """
    return _ROOM + _ROOM_FOR_EACH * len(content)


def ended_by(where: str, what: str, error: DiedError) -> Problem:
    """Return the problem that native code was ended by the file that it looked at."""
    return problem(
        where,
        f"{what} ends the process that does it ({error})",
        "expected a file that a library can read",
        "it is damaged, or a library has a bug: have it checked where it was made",
    )


def _inferred(model: Model) -> dict[str, bytes]:
    import onnx

    content, follows = skeleton_bytes(model), not _long_lists(model.graph)

    def inferred() -> bytes:
        made = onnx.shape_inference.infer_shapes(content, data_prop=follows)
        return bytes(made.SerializeToString())

    try:
        graph = read_model(run_in_child(inferred, SECONDS, room_for(content))).graph
    except RaisedError:
        return {}  # the check of what is cut tells what is wrong
    except DiedError as error:
        raise CutError(ended_by("", "the inference of its types", error)) from error
    values = [value for node in graph for value in node.outputs]
    return {value.name: value.info for value in (*graph.inputs, *values) if value.info}


def inference_failure(model: Model) -> str:
    """Return why types of a model cannot be inferred, or nothing if no reason is found."""
    import onnx

    if late := read_too_early(model.graph):
        return late
    content = skeleton_bytes(model)

    def failure() -> bytes:
        try:
            onnx.shape_inference.infer_shapes(content, strict_mode=True)
        except onnx.shape_inference.InferenceError as error:
            # What follows the first line tells of nodes that had to be left for the same reason.
            (first, *_) = str(error).split("\n", 1)
            return _LABEL.sub("", first).strip().encode("utf-8", "replace")
        return b""

    try:
        return run_in_child(failure, SECONDS, room_for(content)).decode()
    except (RaisedError, DiedError):
        return ""


def read_too_early(graph: Graph) -> str:
    """Return which node of the main graph reads what a later one makes, or nothing if none does."""
    made: set[object] = set()
    inside = set(graph.nodes)
    for node in graph.nodes:
        for value in reads(node):
            producer = value.producer
            if producer in inside and producer not in made and producer is not None:
                return (
                    f"its nodes are not in order: {_called(node)} reads '{value.name}' before "
                    f"{_called(producer)} makes it"
                )
        made.add(node)
    return ""


def _called(node: Node) -> str:
    return f"node '{node.name}'" if node.name else f"the unnamed {node.op_type} node"


def _long_lists(graph: Graph) -> bool:
    # To follow the contents of shapes, onnx takes every list for one and makes an object of each
    # element: for a list of 700 million all memory there is.
    return any(
        value.tensor is not None and len(value.tensor.dims) == 1 and value.tensor.dims[0] > _LONG
        for value in graph.initializers
    )
