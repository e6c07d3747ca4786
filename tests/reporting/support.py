"""A small marked model whose nodes come from modules, and ways to cut it."""

from __future__ import annotations

import onnx

from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.recipe.mark_reference import MarkReference, parse_reference
from partition_core.recipe.values import Segment

# Two marks inside; `late` uses what `early` made, past the middle.
GRAPH = """
<ir_version: 10, opset_import: ["": 20, "partition": 1]>
net (float[1,2,rows] image) => (float[1,2,rows] out) <float[2] w = {1, 2}> {
  image1 = partition.Mark <func="net", func_id=0, type="input", name="image"> (image)
  s1 = Relu(image1)
  s2 = Exp(s1)
  early = partition.Mark <func="early", func_id=0, type="output", name="early"> (s2)
  b1 = Neg(early)
  b2 = Abs(b1)
  late = partition.Mark <func="late", func_id=0, type="input", name="late"> (b2)
  h1 = Sigmoid(late)
  h2 = Add(h1, s1)
  out = partition.Mark <func="net", func_id=0, type="output", name="out"> (h2)
}
<domain: "partition", opset_import: ["": 20]>
Mark <func, func_id, type, name> (x) => (y) { y = Identity(x) }
"""
MODULES = {
    "s1": "net.backbone.stem",
    "s2": "net.backbone.stages.0",
    "b1": "net.backbone.stages.1",
    "b2": "net.neck",
    "h1": "net.head",
}


def marked_model() -> Model:
    """Return the model, with the module of each node in its metadata."""
    proto = onnx.parser.parse_model(GRAPH)
    for node in proto.graph.node:
        if node.output[0] in MODULES:
            entry = node.metadata_props.add()
            entry.key, entry.value = "module", MODULES[node.output[0]]
    onnx.checker.check_model(proto)
    return read_model(proto.SerializeToString())


def segment(file: str, start: str, *end: str) -> Segment:
    """Return a segment with one start."""
    return Segment(file, (reference(start),), tuple(map(reference, end)))


def reference(text: str) -> MarkReference:
    """Return the mark reference in `text`, which is one."""
    found = parse_reference(text)
    assert isinstance(found, MarkReference)
    return found


WHOLE = (segment("all.onnx", "net:input", "net:output"),)
APART = (
    segment("first.onnx", "net:input", "early:output"),
    segment("last.onnx", "net:input", "net:output"),
)
