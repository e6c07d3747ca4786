"""Cutting a segment out of a marked model, and telling how the segments fit together."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx.helper import find_min_ir_version_for, make_opsetid

from partition_core.base.errors import CutError
from partition_core.graph.boundaries import boundaries, coverage, edges
from partition_core.graph.cut import cut as cut_model
from partition_core.graph.cut import graph_name
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.recipe.mark_reference import MarkReference, parse_reference
from partition_core.recipe.values import DynamicAxis, Segment
from tests.cutting.support import content_of

pytestmark = pytest.mark.usefixtures("native_code_here")

AT = "partition.segments[0]"
Arrays = dict[str, np.ndarray]

# A backbone with two maps, a head that reads both, and a constant that both halves use.
DETECTOR = """
<ir_version: 10, opset_import: ["": 20, "partition": 1], producer_name: "test",
 metadata_props: ["made": "here"]>
detector (float[N,3] image) => (float[N,3] dets) <float[3] w = {1.0, 2.0, 3.0}, float[N,3] a> {
  image_m = partition.Mark <func="net", func_id=0, type="input", name="input", id=0> (image)
  [scale] a = Mul (image_m, w)
  [flip] b = Neg (a)
  a_m = partition.Mark <func="head", func_id=0, type="input", name="maps.0", id=0,
                        dtype=1, shape=[-1,3]> (a)
  b_m = partition.Mark <func="head", func_id=0, type="input", name="maps.1", id=1,
                        dtype=1, shape=[-1,3]> (b)
  [sum] c = Add (a_m, b_m)
  [two] two = Constant <value_float=2.0> ()
  [half] h = Div (w, two)
  [shift] d = Sub (c, h)
  dets = partition.Mark <func="net", func_id=0, type="output", name="dets", id=0> (d)
}
<domain: "partition", opset_import: ["": 20]>
Mark <func, func_id, type, name, id, dtype, shape> (x) => (y) { y = Identity(x) }
"""


def refs(*texts: str) -> tuple[MarkReference, ...]:
    found = tuple(parse_reference(text) for text in texts)
    return tuple(item for item in found if item is not None)


def segment(start: str, end: str, **more: object) -> Segment:
    base = Segment("part.onnx", refs(*start.split()), refs(*end.split()))
    return dataclasses.replace(base, **more)  # type: ignore[arg-type]  # fields by name


def model_of(text: str) -> Model:
    return read_model(onnx.parser.parse_model(text).SerializeToString())


def cut(model: Model, part: Segment, at: str) -> ir.Model:
    return ir.serde.deserialize_model(onnx.load_from_string(content_of(cut_model(model, part, at))))


def proto_of(model: ir.Model | Model) -> onnx.ModelProto:
    proto = onnx.load_from_string(content_of(model)) if isinstance(model, Model) else None
    made: onnx.ModelProto = proto or ir.to_proto(model)
    onnx.checker.check_model(made, full_check=True)
    return made


def run(model: ir.Model | Model, feeds: Arrays) -> Arrays:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        proto_of(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def names_of(values: list[ir.Value]) -> list[str | None]:
    return [value.name for value in values]


def message_of(text: str, part: Segment) -> str:
    with pytest.raises(CutError) as caught:
        cut(model_of(text), part, AT)
    return str(caught.value)


def test_segments_chain_by_name_and_equal_the_whole() -> None:
    model = model_of(DETECTOR)
    image = np.array([[1.0, -2.0, 3.5], [0.1, 0.2, 0.3]], np.float32)
    whole = run(model, {"image": image})
    maps = run(cut(model, segment("net:input", "head:input"), AT), {"input": image})
    assert list(maps) == ["maps.0", "maps.1"]
    parts = run(cut(model, segment("head:input", "net:output"), AT), maps)
    assert list(parts) == ["dets"]
    assert parts["dets"].tobytes() == whole["dets"].tobytes()
    swapped = {"maps.0": maps["maps.1"] * 2, "maps.1": maps["maps.0"]}
    wrong = run(cut(model, segment("head:input", "net:output"), AT), swapped)
    assert wrong["dets"].tobytes() != whole["dets"].tobytes()


def test_a_segment_holds_no_mark_and_keeps_what_belongs_to_it() -> None:
    part = cut(model_of(DETECTOR), segment("head:input", "net:output"), AT)
    assert [node.name for node in part.graph] == ["sum", "two", "half", "shift"]
    assert list(part.graph.initializers) == ["w"]
    assert (part.functions, part.opset_imports) == ({}, {"": 20})
    assert (part.ir_version, part.producer_name) == (10, "test")
    assert part.metadata_props == {"made": "here"}
    assert part.graph.name == "part"
    assert str(part.graph.inputs[0].shape) == "[N,3]"


def test_the_model_is_not_changed_and_weights_are_shared() -> None:
    model = model_of(DETECTOR)
    before = content_of(model)
    part = cut_model(model, segment("net:input", "head:input"), AT)
    assert content_of(part) != before
    assert content_of(model) == before
    assert part.graph.initializers[0].tensor is model.graph.initializers[0].tensor


def test_a_start_is_the_input_of_users_that_read_around_its_mark() -> None:
    text = """
    <ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>
    g (float[2] x) => (float[2] y) {
      a = Relu (x)
      m = mmdeploy.Mark <func="mid", type="input", name="a", dtype=1, shape=[2]> (a)
      b = Neg (a)
      s = Add (m, b)
      y = mmdeploy.Mark <func="net", type="output", name="y"> (s)
    }
    """
    part = cut(model_of(text), segment("mid:input", "net:output"), AT)
    assert [node.op_type for node in part.graph] == ["Neg", "Add"]
    assert run(part, {"a": np.array([1, 2], np.float32)})["y"].tolist() == [0.0, 0.0]


def test_a_file_of_mmdeploy_is_cut_by_the_same_code() -> None:
    text = """
    <ir_version: 8, opset_import: ["": 11, "mmdeploy": 1], producer_name: "pytorch">
    torch_jit (float[1,4] input) => (float[1,4] dets) <float[4] w = {1.0, 2.0, 3.0, 4.0}> {
      i = mmdeploy.Mark <dtype=1, func="detector_forward", func_id=0, id=0, name="input",
                         shape=[1,4], type="input"> (input)
      [Mul_1] a = Mul (i, w)
      p = mmdeploy.Mark <dtype=1, func="yolo_head", func_id=0, id=0, name="pred_maps.0",
                         shape=[1,4], type="input"> (a)
      q = mmdeploy.Mark <dtype=1, func="nms", func_id=0, id=0, name="boxes",
                         shape=[1,4], type="input"> (p)
      [Relu_4] d = Relu (q)
      dets = mmdeploy.Mark <dtype=1, func="detector_forward", func_id=0, id=0, name="dets",
                            shape=[1,4], type="output"> (d)
    }
    """
    model = model_of(text)
    first = cut(model, segment("detector_forward:input", "yolo_head:input"), AT)
    second = cut(model, segment("yolo_head:input", "detector_forward:output"), AT)
    image = np.array([[1, -1, 2, -2]], np.float32)
    maps = run(first, {"input": image})
    assert maps["pred_maps.0"].tolist() == [[1, -2, 6, -8]]
    assert run(second, maps)["dets"].tolist() == [[1, 0, 6, 0]]
    assert second.opset_imports == {"": 11}
    assert str(second.graph.inputs[0].shape) == "[1,4]"


def test_names_of_the_recipe_replace_those_of_the_marks() -> None:
    part = segment("head:input", "net:output", input_names=("big", "small"), output_names=("out",))
    made = cut(model_of(DETECTOR), part, AT)
    assert (names_of(list(made.graph.inputs)), names_of(list(made.graph.outputs))) == (
        ["big", "small"],
        ["out"],
    )
    proto_of(made)


SHADOWING = """
<ir_version: 10, opset_import: ["": 20, "partition": 1]>
g (float[2] x, bool c) => (float[2] y) <float[2] feat = {1.0, 1.0}> {
  a = Add (x, feat)
  m = partition.Mark <func="mid", func_id=0, type="input", name="feat", id=0, dtype=1,
                      shape=[2]> (a)
  cm = partition.Mark <func="mid", func_id=0, type="input", name="c", id=1> (c)
  b = Add (m, feat)
  out = If (cm) <
    then_branch = yes () => (float[2] t) {
      out_1 = Relu (m)
      t = Add (out_1, b)
    },
    else_branch = no () => (float[2] e) { maps = Neg (m)  e = Mul (maps, b) }
  >
  y = partition.Mark <func="net", func_id=0, type="output", name="out_1", id=0> (out)
}
<domain: "partition", opset_import: ["": 20]>
Mark <func, func_id, type, name, id, dtype, shape> (x) => (y) { y = Identity(x) }
"""


def test_inner_values_make_room_for_boundary_names_also_inside_bodies() -> None:
    model = model_of(SHADOWING)
    before = content_of(model)
    part = cut(model, segment("mid:input", "net:output"), AT)
    feat = np.array([3, -4], np.float32)
    for flag, expected in ((True, [7.0, -3.0]), (False, [-12.0, -12.0])):
        made = run(part, {"feat": feat, "c": np.array(flag)})
        assert made["out_1"].tolist() == expected
    assert list(part.graph.initializers) == ["feat_1"]
    renamed = cut(model, segment("mid:input", "net:output", input_names=("maps", "c")), AT)
    assert run(renamed, {"maps": feat, "c": np.array(False)})["out_1"].tolist() == [-12.0, -12.0]
    assert content_of(model) == before


def test_initializers_keep_the_order_of_the_model_when_one_is_renamed() -> None:
    text = """
    <ir_version: 10, opset_import: ["": 20, "partition": 1]>
    g (float[1] x) => (float[1] y) <float[1] p = {1.0}, float[1] feat = {2.0}, float[1] q = {3.0}> {
      m = partition.Mark <func="mid", type="input", name="feat"> (x)
      a = Sum (q, feat, p, m)
      y = partition.Mark <func="net", type="output", name="y"> (a)
    }
    """
    part = cut(model_of(text), segment("mid:input", "net:output"), AT)
    assert list(part.graph.initializers) == ["p", "feat_1", "q"]


def test_a_node_needed_for_its_other_output_does_not_hide_the_start() -> None:
    text = """
    <ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>
    g (float[4] x) => (float[2] y) {
      xm = mmdeploy.Mark <func="net", type="input", name="x"> (x)
      a, b = Split <axis=0, num_outputs=2> (xm)
      m = mmdeploy.Mark <func="mid", type="input", name="left", dtype=1, shape=[2]> (a)
      s = Sub (m, b)
      t = Add (a, s)
      y = mmdeploy.Mark <func="net", type="output", name="y"> (t)
    }
    """
    made = cut(model_of(text), segment("net:input mid:input", "net:output"), AT)
    feeds = {"x": np.arange(4, dtype=np.float32), "left": np.array([9, 9], np.float32)}
    # 9 + (9 - b); a copy that still reads Split's first output gives 0 + (0 - b).
    assert run(made, feeds)["y"].tolist() == [16.0, 15.0]
    part = segment("net:input mid:input", "net:output", input_names=("x", "a"))
    same = cut(model_of(text), part, AT)
    assert run(same, {"x": feeds["x"], "a": feeds["left"]})["y"].tolist() == [16.0, 15.0]


def test_an_end_that_is_a_start_passes_through_under_its_own_name() -> None:
    part = segment("head:input", "head:input.maps.0 net:output", output_names=("same", "dets"))
    made = cut(model_of(DETECTOR), part, AT)
    maps = {"maps.0": np.ones((1, 3), np.float32), "maps.1": np.zeros((1, 3), np.float32)}
    result = run(made, maps)
    assert list(result) == ["same", "dets"]
    assert result["same"].tolist() == [[1, 1, 1]]


def test_one_value_can_leave_under_two_names() -> None:
    text = DETECTOR.replace('name="dets", id=0> (d)', 'name="dets", id=0> (a)')
    part = segment("net:input", "head:input net:output")
    result = run(cut(model_of(text), part, AT), {"input": np.ones((1, 3), np.float32)})
    assert list(result) == ["maps.0", "maps.1", "dets"]
    assert result["dets"].tolist() == result["maps.0"].tolist() == [[1, 2, 3]]


def test_a_weight_can_leave_a_segment() -> None:
    text = """
    <ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>
    g (float[1] x) => (float[1] y) <float[1] w = {5.0}> {
      y = mmdeploy.Mark <func="net", type="output", name="y"> (w)
    }
    """
    assert run(cut(model_of(text), segment("", "net:output"), AT), {})["y"].tolist() == [5.0]


def test_a_weight_that_is_a_start_becomes_an_input_and_keeps_its_tensor() -> None:
    text = """
    <ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>
    g (float[1] x) => (float[1] y) <float[1] w = {5.0}> {
      m = mmdeploy.Mark <func="mid", type="input", name="scale"> (w)
      a = Neg (m)
      y = mmdeploy.Mark <func="net", type="output", name="y", dtype=1, shape=[1]> (a)
    }
    """
    model = model_of(text)
    part = cut(model, segment("mid:input", "net:output"), AT)
    assert list(part.graph.initializers) == []
    assert run(part, {"scale": np.array([2], np.float32)})["y"].tolist() == [-2.0]
    assert [value.name for value in model.graph.initializers] == ["w"]


MARKED_BODY = """
<ir_version: 10, opset_import: ["": 20, "partition": 1, "local": 1]>
g (float[2] x, bool c) => (float[2] y) {
  xm = partition.Mark <func="net", func_id=0, type="input", name="x", id=0> (x)
  cm = partition.Mark <func="net", func_id=0, type="input", name="c", id=1> (c)
  a = local.twice (xm)
  b = If (cm) <
    then_branch = yes () => (float[2] t) {
      t = partition.Mark <func="inner", func_id=0, type="input", name="t", id=0> (a)
    },
    else_branch = no () => (float[2] e) {
      m = partition.Mark <func="inner", func_id=1, type="input", name="t", id=0> (a)
      e = Neg (m)
    }
  >
  y = partition.Mark <func="net", func_id=0, type="output", name="y", id=0> (b)
}
<domain: "partition", opset_import: ["": 20]>
Mark <func, func_id, type, name, id> (x) => (y) { y = Identity(x) }
<domain: "local", opset_import: ["": 20, "partition": 1, "local": 1]>
twice (x) => (y) {
  m = partition.Mark <func="deep", func_id=0, type="input", name="x", id=0> (x)
  y = local.plus (m, x)
}
<domain: "local", opset_import: ["": 20]>
plus (x, z) => (y) { y = Add (x, z) }
<domain: "local", opset_import: ["": 20]>
idle (x) => (y) { y = Neg (x) }
"""


def test_marks_vanish_from_bodies_and_functions_and_used_functions_stay() -> None:
    part = cut(model_of(MARKED_BODY), segment("net:input", "net:output"), AT)
    assert [key[:2] for key in part.functions] == [("local", "twice"), ("local", "plus")]
    x = np.array([1, -2], np.float32)
    for flag, expected in ((True, [2.0, -4.0]), (False, [-2.0, 4.0])):
        assert run(part, {"x": x, "c": np.array(flag)})["y"].tolist() == expected
    assert "Mark" not in str(ir.to_proto(part))
    assert "partition" not in str(ir.to_proto(part))


def test_values_that_a_loop_captures_belong_to_the_segment() -> None:
    text = """
    <ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>
    g (float[2] x) => (float[2] y) <float[2] w = {1.0, 10.0}, int64 n = {3}> {
      a = Relu (x)
      am = mmdeploy.Mark <func="mid", type="input", name="a", dtype=1, shape=[2]> (a)
      yes = Constant <value = bool {1}> ()
      z = Sub (am, am)
      r = Loop (n, yes, z) <
        body = step (int64 i, bool go, float[2] acc) => (bool on, float[2] next) {
          on = Identity (go)
          t = Mul (a, w)
          next = Add (acc, t)
        }
      >
      y = mmdeploy.Mark <func="net", type="output", name="y", dtype=1, shape=[2]> (r)
    }
    """
    part = cut(model_of(text), segment("mid:input", "net:output"), AT)
    assert list(part.graph.initializers) == ["w", "n"]
    assert run(part, {"a": np.array([2, 3], np.float32)})["y"].tolist() == [6.0, 90.0]


def test_a_value_that_a_body_returns_untouched_belongs_to_the_segment() -> None:
    model = onnx.parser.parse_model(MARKED_BODY)
    branch = next(node for node in model.graph.node if node.op_type == "If")
    body = next(item.g for item in branch.attribute if item.name == "else_branch")
    twice = next(node for node in model.graph.node if node.op_type == "twice")
    body.output[0].name = twice.output[0]
    del body.node[:]
    branch.attribute.remove(next(i for i in branch.attribute if i.name == "then_branch"))
    part = cut(read_model(model.SerializeToString()), segment("net:input", "net:output"), AT)
    assert [node.op_type for node in part.graph] == ["twice", "If"]


def test_an_old_model_keeps_weights_that_are_also_inputs_as_weights() -> None:
    text = """
    <ir_version: 3, opset_import: ["": 9, "mmdeploy": 1]>
    g (float[1] x, float[1] w = {2.0}) => (float[1] y) {
      xm = mmdeploy.Mark <func="net", type="input", name="input"> (x)
      a = Mul (xm, w)
      y = mmdeploy.Mark <func="net", type="output", name="y"> (a)
    }
    """
    part = cut(model_of(text), segment("net:input", "net:output"), AT)
    assert names_of(list(part.graph.inputs)) == ["input", "w"]
    assert run(part, {"input": np.array([4], np.float32)})["y"].tolist() == [8.0]
    newer = model_of(text.replace("ir_version: 3", "ir_version: 8"))
    assert names_of(list(cut(newer, segment("net:input", "net:output"), AT).graph.inputs)) == [
        "input"
    ]


@pytest.mark.parametrize("opset", range(9, 23))
def test_a_segment_without_functions_has_the_version_of_its_opset(opset: int) -> None:
    text = f"""
    <ir_version: 8, opset_import: ["": {opset}, "partition": 1]>
    g (float[1] x) => (float[1] y) {{
      xm = partition.Mark <func="net", type="input", name="input"> (x)
      y = partition.Mark <func="net", type="output", name="y"> (xm)
    }}
    <domain: "partition", opset_import: ["": {opset}]>
    Mark <func, type, name> (x) => (y) {{ y = Identity(x) }}
    """
    part = cut(model_of(text), segment("net:input", "net:output"), AT)
    first = find_min_ir_version_for([make_opsetid("", opset)])
    assert part.ir_version == min(first, 8)
    assert not part.functions
    newer = model_of(text.replace("ir_version: 8", "ir_version: 10"))
    assert cut(newer, segment("net:input", "net:output"), AT).ir_version == 10


def test_a_boundary_takes_its_type_from_the_mark_when_the_value_has_none() -> None:
    part = cut(model_of(DETECTOR), segment("head:input", "net:output"), AT)
    assert [str(value.shape) for value in part.graph.inputs] == ["[N,3]", "[maps.1_d0,3]"]


@pytest.mark.parametrize(
    ("attributes", "what", "kind"),
    [
        ("dtype=7", "rank", "dtype: int64, shape: [1, c, h, w]"),
        ("shape=[2]", "dtype", "dtype: float32, shape: [2]"),
        ("id=0", "dtype", "dtype: float32, shape: [1, c, h, w]"),
    ],
)
def test_an_untyped_boundary_is_refused(attributes: str, what: str, kind: str) -> None:
    text = f"""
    <ir_version: 10, opset_import: ["": 20, "mmdeploy": 1, "custom": 1]>
    g (float[2] x) => (float[2] y) {{
      a = custom.Op (x)
      m = mmdeploy.Mark <func="mid", type="input", name="a", {attributes}> (a)
      b = Neg (m)
      y = mmdeploy.Mark <func="net", type="output", name="y", dtype=1, shape=[2]> (b)
    }}
    """
    assert message_of(text, segment("mid:input", "net:output")) == (
        f"partition.segments[0].start[0]: the {what} of 'mid:input.a' is not known; "
        "a boundary needs a dtype and a rank; "
        f"write `types: {{a: {{{kind}}}}}` into the recipe, or the type into the model"
    )


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            segment("haed:input", "net:output.dat"),
            (
                "partition.segments[0].start[0]: the model has no mark 'haed'; "
                "expected one of 'head', 'net'; did you mean 'head'?\n"
                "partition.segments[0].end[0]: 'net:output.dat' selects no tensor; "
                "expected one of 'net:output.dets'; did you mean 'net:output.dets'?"
            ),
        ),
        (
            segment("head:input.maps.1", "net:output"),
            (
                "partition.segments[0].start: segment 'part.onnx' needs 'image', "
                "which its start does not list; add 'head:input.maps.0' to start"
            ),
        ),
        (
            segment("", "net:output"),
            (
                "partition.segments[0].start: segment 'part.onnx' needs 'image', "
                "which its start does not list; "
                "add 'head:input.maps.0', 'head:input.maps.1' to start"
            ),
        ),
        (
            segment("", "head:input.maps.0"),
            (
                "partition.segments[0].start: segment 'part.onnx' needs 'image', "
                "which its start does not list; add 'net:input.input' to start"
            ),
        ),
        (
            segment("net:input head:input", "net:output"),
            (
                "partition.segments[0].start[0]: "
                "nothing in segment 'part.onnx' needs 'net:input'; remove it"
            ),
        ),
        (
            segment("head:input", "head:input.maps.0", output_names=("o",)),
            (
                "partition.segments[0].start[0]: nothing in segment 'part.onnx' needs "
                "'head:input.maps.1', which 'head:input' selects; "
                "list the needed ones one by one: 'head:input.maps.0'"
            ),
        ),
        (
            segment("head:input head:input.maps.1", "net:output"),
            (
                "partition.segments[0].start[1]: 'head:input.maps.1' is the same tensor as "
                "'head:input.maps.1', listed before it; list it once"
            ),
        ),
        (
            segment("head:input", "net:output", input_names=("a",), output_names=("b", "c")),
            (
                "partition.segments[0].input_names: 1 name for 2 tensors; "
                "expected one for each of 'head:input.maps.0', 'head:input.maps.1'\n"
                "partition.segments[0].output_names: 2 names for 1 tensor; "
                "expected one for each of 'net:output.dets'"
            ),
        ),
        (
            segment("head:input", ""),
            "partition.segments[0].end: the segment has no end; expected a mark reference",
        ),
    ],
)
def test_a_segment_that_cannot_be_cut_is_told_what_to_do(part: Segment, expected: str) -> None:
    assert message_of(DETECTOR, part) == expected


def test_two_marks_of_one_tensor_cannot_both_be_starts() -> None:
    text = DETECTOR.replace("(b)\n", "(a)\n")
    assert message_of(text, segment("head:input", "net:output")) == (
        "partition.segments[0].start[0]: 'head:input.maps.1' is the same tensor as "
        "'head:input.maps.0', listed before it; list it once"
    )


SKIP = """
<ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>
g (float[1] x, float[1] z) => (float[1] y) {{
  xm = mmdeploy.Mark <func="net", type="input", name="x", id=0> (x)
  a = Relu (xm)
  am = mmdeploy.Mark <func="one", type="output", name="feat", dtype=1, shape=[1]> (a)
  b = Exp (am)
  bm = mmdeploy.Mark <func="two", type="output", name="feat", dtype=1, shape=[1]> (b)
  c = Add (bm, {skip})
  cm = mmdeploy.Mark <func="three", type="output", name="sum", dtype=1, shape=[1]> (c)
  d = Neg (cm)
  y = mmdeploy.Mark <func="net", type="output", name="y"> (d)
}}
"""


@pytest.mark.parametrize(
    ("skip", "remedy"),
    [
        # 'three' is nearer to the end, but would make the listed start needless.
        ("a", "needs 'x', which its start does not list; add 'one:output.feat' to start"),
        ("x", "needs 'x', which its start does not list; add 'net:input.x' to start"),
        # 'z' itself has no mark; 'three' is the one that stands between.
        ("z", "needs 'z', which its start does not list; add 'three:output.sum' to start"),
    ],
)
def test_an_unbounded_segment_is_told_the_mark_that_joins_its_start(skip: str, remedy: str) -> None:
    told = message_of(SKIP.format(skip=skip), segment("two:output", "net:output"))
    assert told == f"partition.segments[0].start: segment 'part.onnx' {remedy}"


def test_an_unbounded_segment_without_marks_on_the_way_says_so() -> None:
    told = message_of(SKIP.format(skip="z"), segment("one:output", "three:output"))
    assert told == (
        "partition.segments[0].start: segment 'part.onnx' needs 'z', which its start does not "
        "list; mark a tensor on every path from 'z' to the end and add it to start"
    )


def test_a_segment_that_needs_what_nothing_defines_is_told_that_the_model_is_broken() -> None:
    text = DETECTOR.replace("Neg (a)", "Add (a, bias)")
    assert message_of(text, segment("net:input", "net:output")) == (
        "partition.segments[0]: it is broken: Add node 'flip' reads 'bias', which nothing in it "
        "defines; expected an input of the model, a weight or what a node gives; export it again, "
        "or mend the tool that changed it"
    )
    assert names_of(list(cut(model_of(text), segment("head:input", "net:output"), AT).graph.inputs))


def test_where_a_name_is_taken_the_mark_stands_in_front() -> None:
    part = segment("one:output two:output", "net:output")
    text = SKIP.format(skip="am")
    made = cut(model_of(text), part, AT)
    assert names_of(list(made.graph.inputs)) == ["feat", "two.feat"]
    made = cut(model_of(text), segment("two:output one:output", "net:output"), AT)
    assert names_of(list(made.graph.inputs)) == ["feat", "one.feat"]
    made = cut(model_of(text), dataclasses.replace(part, input_names=("p", "q")), AT)
    assert names_of(list(made.graph.inputs)) == ["p", "q"]
    given = dataclasses.replace(part, output_names=("feat",))
    made = cut(model_of(text), given, AT)
    assert names_of([*made.graph.inputs, *made.graph.outputs]) == ["one.feat", "two.feat", "feat"]


TWICE = """
<ir_version: 10, opset_import: ["": 20, "partition": 1]>
g (float[1] x) => (float[1] y) {
  a = partition.Mark <func="m", func_id=0, type="input", name="t", dtype=1, shape=[1]> (x)
  b = Relu (a)
  c = partition.Mark <func="m", func_id=0, type="output", name="t", dtype=1, shape=[1]> (b)
  d = partition.Mark <func="m", func_id=1, type="output", name="t", dtype=1, shape=[1]> (x)
  e = Exp (c)
  f = Sum (a, e, d)
  y = partition.Mark <func="m", func_id=1, type="input", name="t", dtype=1, shape=[1]> (f)
}
"""


def test_sides_and_calls_of_one_mark_have_names_of_their_own() -> None:
    made = cut(model_of(TWICE), segment("m:input", "m:output m[1]:output"), AT)
    # The second call's output is the input itself, and keeps its name.
    assert names_of([*made.graph.inputs, *made.graph.outputs]) == ["t", "m.t", "t"]
    made = cut(model_of(TWICE), segment("m:output m[1]:output", "m[1]:input"), AT)
    names = names_of([*made.graph.inputs, *made.graph.outputs])
    assert names == ["t", "m.1.t", "m.1.input.t"]


def axes(*items: tuple[str, int, str]) -> tuple[DynamicAxis, ...]:
    return tuple(DynamicAxis(*item) for item in items)


def test_a_renamed_dim_is_renamed_everywhere_in_the_segment() -> None:
    text = DETECTOR.replace("float[N,3] a>", "float[N,3] a, float[N,3] b>")
    part = segment("net:input", "head:input", dynamic_axes=axes(("input", 0, "batch")))
    made = cut(model_of(text), part, AT)
    shapes = [str(value.shape) for value in (*made.graph.inputs, *made.graph.outputs)]
    assert shapes == ["[batch,3]"] * 3
    assert "N" not in [dim.dim_param for info in proto_of(made).graph.value_info
                       for dim in info.type.tensor_type.shape.dim]  # fmt: skip


def test_a_symbol_inside_an_expression_is_renamed_as_a_whole_word() -> None:
    text = """
    <ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>
    g (float[s0,s01] x) => (float[n,1] y) <float[n,1] a> {
      xm = mmdeploy.Mark <func="net", type="input", name="x"> (x)
      a = Relu (xm)
      y = mmdeploy.Mark <func="net", type="output", name="y"> (a)
    }
    """
    proto = onnx.parser.parse_model(text)
    for dim, symbol in zip(
        proto.graph.value_info[0].type.tensor_type.shape.dim, ("2*s0 + s01", "s0"), strict=True
    ):
        dim.dim_param = symbol
    model = read_model(proto.SerializeToString())
    part = segment("net:input", "net:output", dynamic_axes=axes(("x", 0, "b")))
    made = cut(model, part, AT)
    assert made.graph.inputs[0].shape == ["b", "s01"]
    assert made.graph.outputs[0].shape == ["2*b + s01", "b"]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (
            ("input", 1, "w"),
            (
                "input.1: the exported model fixed dim 1 of 'input' at 3; only a dim that is not "
                "fixed can be named; set it in export.dynamic_axes instead"
            ),
        ),
        (("input", 2, "w"), "input.2: 'input' has no axis 2; expected 0 to 1"),
        (
            ("inptu", 0, "w"),
            (
                "inptu.0: the segment has no boundary tensor 'inptu'; "
                "expected one of 'input', 'maps.0', 'maps.1'; did you mean 'input'?"
            ),
        ),
    ],
)
def test_an_axis_that_cannot_be_named_is_refused(axis: tuple[str, int, str], expected: str) -> None:
    part = segment("net:input", "head:input", dynamic_axes=axes(axis))
    assert message_of(DETECTOR, part) == f"partition.segments[0].dynamic_axes.{expected}"


def test_one_dim_cannot_have_two_names_nor_two_dims_one() -> None:
    text = DETECTOR.replace("float[N,3] a>", "float[N,3] a, float[M,3] b>")
    two = segment("head:input", "net:output",
                  dynamic_axes=axes(("maps.0", 0, "b"), ("dets", 0, "c")))  # fmt: skip
    assert message_of(text, two) == (
        "partition.segments[0].dynamic_axes.dets.0: dim 0 of 'dets' is 'N', which is already "
        "renamed 'b'; equal dims have one name; call it 'b' here too"
    )
    one = dataclasses.replace(two, dynamic_axes=axes(("maps.0", 0, "M")))
    assert message_of(text, one) == (
        "partition.segments[0].dynamic_axes['maps.0'].0: 'M' already names another dim of the "
        "segment; a name stands for one size; use another name, or give both dims one name in "
        "export.dynamic_axes"
    )


@pytest.mark.parametrize(
    ("save_file", "name"),
    [
        ("yolov3.onnx", "yolov3"),
        ("sub/post-process.v2.onnx", "post_process_v2"),
        ("3d.onnx", "segment_3d"),
        ("static.onnx", "segment_static"),
        ("größe.onnx", "gr__e"),
    ],
)
def test_the_graph_is_named_by_a_c_identifier(save_file: str, name: str) -> None:
    assert graph_name(save_file) == name


CUT_AND_DIGEST = """
import hashlib, sys
from pathlib import Path
from partition_core.graph.files import cut_file
from partition_core.recipe.values import Segment
from partition_core.recipe.mark_reference import parse_reference
part = Segment("p.onnx", (parse_reference("net:input"),), (parse_reference("net:output"),))
target = Path(sys.argv[2])
files = cut_file(Path(sys.argv[1]), part, target, weights=sys.argv[3], check=False)
assert not {"onnx", "numpy", "google.protobuf"} & set(sys.modules), "a cut needs none of them"
print(*(hashlib.sha256(file.read_bytes()).hexdigest() for file in files))
"""


def many_weights(count: int) -> onnx.ModelProto:
    lines = ['m = mmdeploy.Mark <func="net", type="input", name="w7"> (x)', "v0 = Relu (m)"]
    lines += [f"v{i + 1} = Add (v{i}, w{(i * 37) % count})" for i in range(count)]
    lines.append(f'y = mmdeploy.Mark <func="net", type="output", name="v9"> (v{count})')
    weights = ", ".join(f"float[1] w{i} = {{{i}.0}}" for i in range(count))
    return onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>'
        f"g (float[1] x) => (float[1] y) <{weights}> {{ {' '.join(lines)} }}"
    )


@pytest.mark.costly
@pytest.mark.parametrize("weights", ["inline", "external"])
@pytest.mark.parametrize("processes", [4, pytest.param(20, marks=pytest.mark.thorough)])
def test_the_bytes_of_a_segment_are_equal_in_every_process_and_hash_seed(
    weights: str, processes: int, tmp_path: Path
) -> None:
    root = Path(__file__).parents[2]
    model = many_weights(5000)
    for tensor in model.graph.initializer[::500]:
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones((1, 400), np.float32), tensor.name))
    source = tmp_path / "source.onnx"
    source.write_bytes(model.SerializeToString())
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", CUT_AND_DIGEST),
                *(str(source), str(tmp_path / seed / "p.onnx"), weights),
            ],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in map(str, range(processes))
    ]
    digests = [process.communicate()[0].split() for process in running]
    assert [len(one) for one in digests] == [1 + (weights == "external")] * processes
    assert len({tuple(one) for one in digests}) == 1


def test_the_devices_of_a_node_follow_the_names_of_its_tensors() -> None:
    proto = onnx.parser.parse_model(DETECTOR)
    node = next(node for node in proto.graph.node if node.name == "sum")
    devices = node.device_configurations.add(configuration_id="two")
    for name in ("a_m", "c"):
        devices.sharding_spec.add(tensor_name=name)
    model = read_model(proto.SerializeToString())
    part = segment("head:input", "net:output", input_names=("p", "q"))
    made = onnx.load_from_string(content_of(cut_model(model, part, AT)))
    found = next(node for node in made.graph.node if node.name == "sum").device_configurations[0]
    assert [spec.tensor_name for spec in found.sharding_spec] == ["p", "c"]


FIRST = segment("net:input", "head:input", save_file="first.onnx")
LAST = segment("head:input", "net:output", save_file="last.onnx", input_names=("p", "q"))


def test_the_boundary_of_each_segment_is_told_as_plain_values() -> None:
    first, last = boundaries(model_of(DETECTOR), [FIRST, LAST])
    assert json.loads(json.dumps(dataclasses.asdict(first))) == {
        "save_file": "first.onnx",
        "inputs": [
            {"name": "input", "dtype": "float32", "dims": ["N", 3], "reference": "net:input.input"}
        ],
        "outputs": [
            {"name": "maps.0", "dtype": "float32", "dims": ["N", 3],
             "reference": "head:input.maps.0"},
            {"name": "maps.1", "dtype": "float32", "dims": ["maps.1_d0", 3],
             "reference": "head:input.maps.1"},
        ],
    }  # fmt: skip
    assert [item.name for item in last.inputs] == ["p", "q"]


def routes(text: str, *parts: Segment) -> list[str]:
    return [
        f"{edge.producer}/{edge.output} -> {edge.consumer}/{edge.input}"
        for edge in edges(model_of(text), parts)
    ]


def test_edges_follow_the_tensor_and_not_its_name() -> None:
    assert routes(DETECTOR, FIRST, LAST) == [
        "end2end input/image -> first.onnx/input",
        "first.onnx/maps.0 -> last.onnx/p",
        "first.onnx/maps.1 -> last.onnx/q",
        "last.onnx/dets -> end2end output/dets",
    ]


def test_an_input_that_no_earlier_segment_gives_is_a_gap() -> None:
    assert routes(DETECTOR, LAST, FIRST)[:2] == ["/ -> last.onnx/p", "/ -> last.onnx/q"]


def test_coverage_counts_what_depends_on_the_input_and_no_mark() -> None:
    told = coverage(model_of(DETECTOR), [FIRST, LAST])
    assert (told.nodes, told.uncovered, told.shared) == (4, (), ())
    assert told.counts == (("first.onnx", 2), ("last.onnx", 2))
    only = coverage(model_of(DETECTOR), [LAST])
    assert only.uncovered == ("scale", "flip")
    whole = segment("net:input", "net:output", save_file="whole.onnx")
    both = coverage(model_of(DETECTOR), [FIRST, whole])
    assert both.shared == (
        ("scale", ("first.onnx", "whole.onnx")),
        ("flip", ("first.onnx", "whole.onnx")),
    )


def test_the_problems_of_all_segments_are_told_at_once() -> None:
    bad = segment("haed:input", "net:output")
    with pytest.raises(CutError) as caught:
        edges(model_of(DETECTOR), [bad, FIRST, bad])
    assert [item.place.path for item in caught.value.problems] == [
        "partition.segments[0].start[0]",
        "partition.segments[2].start[0]",
    ]
