"""One line cuts off the post-processing of any ONNX file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.cutting.chains import equal, run
from tests.cutting.structures import BINS, Weights, parsed

from .projects import Project

ONE_LINE = "model: {source: onnx, path: yolo.onnx}\npartition: {type: %s}\n"

YOLO = """
    a = Conv(image, wa, ba) b = Conv<strides=[2,2]>(image, wb, bb)
    fa = Reshape(a, flat) fb = Reshape(b, flat) all = Concat<axis=2>(fa, fb)
    boxes, classes = Split<axis=1>(all, parts)
    bins = Reshape(boxes, four) t = Transpose<perm=[0,2,1,3]>(bins) p = Softmax<axis=1>(t)
    d = Conv(p, dfl) sides = Reshape(d, sizes) shifted = Add(sides, anchors)
    scaled = Mul(shifted, strides) to = Mul(scaled, factor) s = Sigmoid(classes)
    y = Concat<axis=1>(to, s)
"""
"""A detector's head of two scales with its DFL, as Ultralytics writes it, on a picture."""

WEIGHTS: Weights = {
    "wa": (66, 3, 1, 1),
    "ba": (66,),
    "wb": (66, 3, 2, 2),
    "bb": (66,),
    "flat": np.array([1, 66, -1]),
    "parts": np.array([64, 2]),
    "four": np.array([1, 4, 16, -1]),
    "dfl": BINS.reshape(1, 16, 1, 1),
    "sizes": np.array([1, 4, -1]),
    "anchors": (1, 4, 80),
    "strides": (1, 80),
}


@pytest.fixture
def yolo(project: Project) -> onnx.ModelProto:
    """Put the detector into the project; it has an input besides the picture."""
    model = parsed(
        YOLO, WEIGHTS, inputs="float[1,3,8,8] image, float[1] factor", outputs="float[1,6,80] y"
    )
    project.save(model, "yolo.onnx")
    return model


@pytest.mark.parametrize(
    ("policy", "heads"), [("raw_heads", ["a", "b"]), ("no_postprocess", ["all"])]
)
def test_one_line_cuts_off_what_has_no_weights(
    project: Project, yolo: onnx.ModelProto, policy: str, heads: list[str]
) -> None:
    project.recipe(ONE_LINE % policy)
    said = project.built("build", "recipe=x")
    assert "the segments in a chain equal end2end bit for bit" in said
    folder = project.folder / "build" / "x"
    rng = np.random.default_rng(3)
    image = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    factor = np.array([2.5], np.float32)
    network = run(folder / "network.onnx", {"image": image})
    assert list(network) == heads
    whole = run(project.folder / "yolo.onnx", {"image": image, "factor": factor})
    made = run(folder / "postprocess.onnx", {**network, "factor": factor})
    assert list(made) == ["y"]
    assert equal(made["y"], whole["y"])
    assert np.ptp(whole["y"]) > 1
    operators = {node.op_type for node in onnx.load(folder / "network.onnx").graph.node}
    assert operators & {"Softmax", "Sigmoid", "Split"} == set()
    assert "up to date" in project.built("build", "recipe=x")


def test_a_dense_detector_is_cut_where_its_heads_begin(project: Project) -> None:
    nodes = """
        p = Conv(image, wp) n = Conv<strides=[2,2]>(p, wn)
        c0 = Conv(p, wc) b0 = Conv(p, wb) c1 = Conv(n, wc) b1 = Conv(n, wb)
        fc0 = Reshape(c0, flat) fb0 = Reshape(b0, flat)
        fc1 = Reshape(c1, flat) fb1 = Reshape(b1, flat)
        c = Concat<axis=2>(fc0, fc1) b = Concat<axis=2>(fb0, fb1) s = Sigmoid(c) e = Exp(b)
        y = Concat<axis=1>(s, e)
    """
    weights: Weights = {
        "wp": (4, 3, 1, 1),
        "wn": (4, 4, 2, 2),
        "wc": (4, 4, 1, 1),
        "wb": (4, 4, 1, 1),
        "flat": np.array([1, 4, -1]),
    }
    model = parsed(nodes, weights, inputs="float[1,3,8,8] image", outputs="float[1,8,80] y")
    project.save(model, "yolo.onnx")
    project.recipe(ONE_LINE % "backbone_head")
    assert "the segments in a chain equal end2end bit for bit" in project.built("build", "recipe=x")
    folder = project.folder / "build" / "x"
    feeds = {"image": np.random.default_rng(5).normal(size=(1, 3, 8, 8)).astype(np.float32)}
    features = run(folder / "backbone.onnx", feeds)
    assert list(features) == ["p", "n"]
    made = run(folder / "head.onnx", features)
    assert equal(made["y"], run(project.folder / "yolo.onnx", feeds)["y"])
    convolutions = [node.op_type for node in onnx.load(folder / "head.onnx").graph.node]
    assert convolutions.count("Conv") == 4


def test_another_rule_is_another_build(project: Project, yolo: onnx.ModelProto) -> None:
    project.recipe(ONE_LINE % "raw_heads")
    project.built("build", "recipe=x")
    project.recipe(ONE_LINE % "no_postprocess")
    project.built("build", "recipe=x")
    network = onnx.load(project.folder / "build" / "x" / "network.onnx")
    assert [value.name for value in network.graph.output] == ["all"]


def test_segments_of_the_recipe_s_own_refer_to_what_the_structure_marks(
    project: Project, yolo: onnx.ModelProto
) -> None:
    project.recipe(
        "model: {source: onnx, path: yolo.onnx}\n"
        "partition:\n"
        "  type: mine\n"
        "  cut: raw_heads\n"
        "  segments:\n"
        "    - {save_file: small.onnx, start: ['front:input'], end: ['front:output.b']}\n"
    )
    project.built("build", "recipe=x")
    segment = onnx.load(project.folder / "build" / "x" / "small.onnx")
    assert [value.name for value in segment.graph.output] == ["b"]


def test_a_model_without_post_processing_is_refused_before_anything_runs(project: Project) -> None:
    project.save(parsed("c = Conv(x, w) y = Relu(c)", {"w": (4, 3, 3, 3)}), "yolo.onnx")
    project.recipe(ONE_LINE % "no_postprocess")
    assert project.told() == [
        "recipes/x.yaml:2: partition.type: the last operators with weights give the outputs of the "
        "model themselves; they are 'y'; there is no post-processing to cut off: use the model as "
        "it is"
    ]


def test_a_policy_for_mmdet_is_refused_with_those_that_fit(project: Project) -> None:
    project.recipe(ONE_LINE % "two_stage")
    assert project.told() == [
        "recipes/x.yaml:2: partition.type: policy 'two_stage' refers to functions of mmdet; "
        "expected one of 'backbone_head', 'no_postprocess', 'raw_heads'; choose one, or write "
        "'segments'"
    ]


def test_the_structure_s_marks_have_names_of_their_own(project: Project) -> None:
    project.recipe(
        "model: {source: onnx, path: detector.onnx}\n"
        "marks:\n"
        "  - {name: front, tensors: [conv_1]}\n"
        "partition: {type: raw_heads}\n"
    )
    assert project.told() == [
        "recipes/x.yaml:3: marks[0].name: 'front' is the name of a mark that the partition puts "
        "by structure; rename it"
    ]
