"""A segment that needs nothing of a tensor but its sizes takes it as an input, and no other one."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest

from partition_core.base.errors import CutError
from partition_core.graph.boundaries import boundaries, edges
from partition_core.graph.cut import cut
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.values import Segment
from tests.cutting.support import content_of

# A network, and behind it what clips its result to the size of the picture.
CLIPPED = """
<ir_version: 10, opset_import: ["": 20, "partition": 1]>
clipped (float[1,1,h,w] image) => (float[m] dets) {
  image_m = partition.Mark <func="whole", func_id=0, type="input", name="image", id=0> (image)
  flat = Constant <value_ints=[-1]> ()
  pixels = Reshape (image_m, flat)
  raw = Neg (pixels)
  raw_m = partition.Mark <func="head", func_id=0, type="input", name="raw", id=0,
                          dtype=1, shape=[-1]> (raw)
  READ
  dets = partition.Mark <func="whole", func_id=0, type="output", name="dets", id=0> (clip)
}
<domain: "partition", opset_import: ["": 20]>
Mark <func, func_id, type, name, id, dtype, shape> (x) => (y) { y = Identity(x) }
"""
SIZE = (
    "height = Shape <start=2, end=3> (image) most = Cast <to=1> (height) clip = Min (raw_m, most)"
)
OF_THE_MARK = SIZE.replace("(image)", "(image_m)")
PIXELS = "most = ReduceMax <keepdims=0> (image_m) clip = Min (raw_m, most)"
BOTH = (
    "height = Shape <start=2, end=3> (image) size = Cast <to=1> (height) "
    "top = ReduceMax <keepdims=0> (image_m) most = Add (size, top) clip = Min (raw_m, most)"
)
NOTHING = "clip = Abs (raw_m)"
PICTURE = MarkReference("whole", "input")
TAIL = Segment(
    "tail.onnx", (MarkReference("head", "input"),), (MarkReference("whole", "output"),),
    sizes_from=(PICTURE,),
)  # fmt: skip
AT = "partition.segments[0]"


def model_of(read: str) -> Model:
    text = CLIPPED.replace("READ", read)
    return read_model(onnx.parser.parse_model(text).SerializeToString())


def inputs(model: Model, segment: Segment = TAIL) -> list[str]:
    (found,) = boundaries(model, (segment,))
    return [tensor.name for tensor in found.inputs]


@pytest.mark.parametrize("read", [SIZE, OF_THE_MARK], ids=["input", "mark"])
def test_what_is_read_for_its_size_is_an_input(read: str) -> None:
    model = model_of(read)
    assert inputs(model) == ["raw", "image"]
    (_, edge) = [edge for edge in edges(model, (TAIL,)) if edge.consumer == "tail.onnx"]
    assert (edge.producer, edge.output, edge.dims) == ("end2end input", "image", (1, 1, "h", "w"))
    content = content_of(cut(model, TAIL, AT))
    session = onnxruntime.InferenceSession(content)
    raw = np.arange(9, dtype=np.float32)
    (dets,) = session.run(None, {"raw": raw, "image": np.zeros((1, 1, 4, 7), np.float32)})
    np.testing.assert_array_equal(dets, raw.clip(max=4))


def test_what_the_segment_does_not_need_is_none() -> None:
    assert inputs(model_of(NOTHING)) == ["raw"]


@pytest.mark.parametrize("read", [PIXELS, BOTH], ids=["pixels", "both"])
def test_what_is_read_for_more_than_its_size_is_refused(read: str) -> None:
    # Otherwise a segment in the wrong place would run all of the network again.
    with pytest.raises(CutError, match=r"segment 'tail\.onnx' needs 'image', which its start does"):
        inputs(model_of(read))


def test_names_of_the_inputs_stay_with_the_inputs_that_they_are_for() -> None:
    named = dataclasses.replace(TAIL, input_names=("boxes",))
    assert inputs(model_of(SIZE), named) == ["boxes", "image"]
    assert inputs(model_of(NOTHING), named) == ["boxes"]


def test_a_tensor_that_is_not_there_is_told_at_its_place() -> None:
    wrong = dataclasses.replace(TAIL, sizes_from=(MarkReference("hole", "input"),))
    with pytest.raises(CutError) as error:
        inputs(model_of(SIZE), wrong)
    assert "partition.segments[0].sizes_from[0]: " in str(error.value)
