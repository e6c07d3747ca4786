"""Files as they are found: bodies, functions, foreign marks, old versions; marked, cut, proven."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from onnx import TensorProto, helper

from partition_core.base.errors import ProofError
from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Model
from partition_core.graph.mark_nodes import put_marks
from partition_core.graph.marks import MarkedTensor
from partition_core.sources.onnx import source as onnx_source
from tests.cutting.chains import equal, run

from .chaining import LINE, chained, parsed, two, written
from .files import detector, weight
from .projects import Project

X = np.random.default_rng(5).normal(size=(3,)).astype(np.float32)


BODIES = """
agraph (float[3] x) => (float[3] z) {
  y = Sin (x)
  s = ReduceSum <keepdims = 0> (x)
  zero = Constant <value = float {0.0}> ()
  c = Greater (s, zero)
  k = If (c) <
    then_branch = g1 () => (float[3] t) { t = Exp (y) },
    else_branch = g2 () => (float[3] e) {
      d = If (c) <
        then_branch = g3 () => (float[3] f) { f = Neg (y) },
        else_branch = g4 () => (float[3] g) { y_marked = Abs (y)  g = Add (y_marked, y) }
      >
      e = Identity (d)
    }
  >
  z = Cos (k)
}
"""


def test_bodies_read_what_is_marked_around_them(project: Project) -> None:
    project.save(parsed(BODIES))
    project.recipe(two("'y', c", "z"))
    made = chained(project, {"x": X})
    end2end = made["end2end.onnx"].graph
    (branch,) = [node for node in end2end.node if node.op_type == "If"]
    inner = branch.attribute[0].g.node[0]
    (last,) = [n for n in end2end.node if n.op_type == "Mark" and n.name == "middle:output.y"]
    assert list(inner.input) == list(last.output)
    assert list(last.output) != ["y_marked"]  # a body has a tensor of this name
    assert run(project.folder / "b.onnx", {"y": X, "c": np.array(True)})


FUNCTIONS = """
agraph (float[3] x) => (float[3] z) {
  y = own.twice (x)
  z = own.more (y)
}
<domain: "own", opset_import: ["": 20]>
twice (a) => (b) { two = Constant <value = float {2.0}> ()  b = Mul (a, two) }
<domain: "own", opset_import: ["": 20, "own": 1]>
more (a) => (b) { c = own.twice (a)  b = Sin (c) }
"""


def test_a_file_keeps_its_functions(project: Project) -> None:
    project.save(parsed(FUNCTIONS))
    project.recipe(two("'y'", "z"))
    made = chained(project, {"x": X})
    names = {file: {one.name for one in model.functions} for file, model in made.items()}
    assert names == {
        "end2end.onnx": {"twice", "more", "Mark"},
        "a.onnx": {"twice"},
        "b.onnx": {"twice", "more"},
    }


def test_inputs_weights_and_outputs_may_be_marked(project: Project) -> None:
    """`y` is an output that is read as well, `w` a weight, and `x` goes straight through."""
    project.save(
        parsed("""
agraph (float[3] x) => (float[3] y, float[3] z, float[3] x)
<float[3] w = {1.5, -2.0, 3.0}>
{ y = Mul (x, w)  v = Sin (y)  z = Mul (v, w) }
""")
    )
    project.recipe(two("'y', w", "'y', z", "x").replace("['middle:output']", "['middle:output.y']"))
    made = chained(project, {"x": X})
    assert [one.name for one in made["end2end.onnx"].graph.output] == ["y", "z", "x"]
    assert [one.name for one in made["b.onnx"].graph.initializer] == ["w"]
    assert [one.name for one in made["a.onnx"].graph.output] == ["y", "w"]


def test_an_old_file_gets_functions_and_keeps_its_operators(project: Project) -> None:
    weights = [weight("w", 3)]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "w"], ["y_1"], "m"),
            helper.make_node("Sigmoid", ["y_1"], ["z"], "s"),
        ],
        "old",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in ("x", "w")],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [3])],
        weights,
    )
    project.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)], ir_version=3))
    project.recipe(two("y_1", "z"))
    made = chained(project, {"x": X})
    assert {model.opset_import[0].version for model in made.values()} == {7}
    assert made["end2end.onnx"].ir_version == 8


@pytest.mark.parametrize("version", [7, 10])
def test_marks_of_mmdeploy_are_used_as_they_are(project: Project, version: int) -> None:
    """They have no function there, so that onnxruntime would not load the file as it is."""
    model = detector()
    model.ir_version = version
    model.opset_import.append(helper.make_opsetid("mmdeploy", 1))
    for index, name in enumerate(("conv_1", "/neck/out")):
        for node in model.graph.node:
            node.input[:] = [f"{name}_mark" if one == name else one for one in node.input]
        makers = [index for index, node in enumerate(model.graph.node) if name in node.output]
        mark = helper.make_node(
            "Mark",
            [name],
            [f"{name}_mark"],
            domain="mmdeploy",
            func="neck",
            func_id=0,
            type="input",
            id=index,
            dtype=1,
            shape=[1, 4, 16, 16] if index == 0 else [1, 8, 8, 8],
        )
        mark.attribute.append(helper.make_attribute("name", f"feats.{index}"))
        model.graph.node.insert(makers[0] + 1, mark)
    project.save(model)
    project.recipe(
        LINE + "marks:\n  - {name: whole, inputs: [image], outputs: [scores, boxes]}\n"
        "partition:\n  type: two\n  segments:\n"
        "    - {save_file: a.onnx, start: ['whole:input'], end: ['neck:input']}\n"
        "    - {save_file: b.onnx, start: ['neck:input'], end: ['whole:output']}\n"
    )
    made = project.make()
    assert [one.name for one in made["a.onnx"].graph.output] == ["feats.0", "feats.1"]
    plain = written(detector(), project.folder, "plain.onnx")
    image = {"image": np.random.default_rng(4).normal(size=(1, 3, 16, 16)).astype(np.float32)}
    first = run(written(made["a.onnx"], project.folder, "a.onnx"), image)
    second = run(written(made["b.onnx"], project.folder, "b.onnx"), first)
    whole = run(plain, image)
    assert all(equal(second[name], whole[name]) for name in whole)


def test_integers_booleans_and_halves_are_drawn(project: Project) -> None:
    project.save(
        parsed("""
agraph (int64[4] i, bool[4] b, float16[4] h) => (float16[4] z) {
  f = Cast <to = 10> (i)
  g = Where (b, f, h)
  z = Sin (g)
}
""")
    )
    project.recipe(two("g", "z", "i, b, h"))
    feeds = {
        "i": np.array([0, 5, -3, 2]),
        "b": np.array([True, False, True, False]),
        "h": np.array([1, 2, 3, 4], np.float16),
    }
    chained(project, feeds)


def test_a_wrong_mark_is_found_by_the_proof(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference comes from the file and not from what was made of it."""

    def spoiled(model: Model, tensors: Sequence[MarkedTensor]) -> Model:
        made = put_marks(model, tensors)
        for node in made.graph:
            node.message = content_of(node.message).replace(b"Sin", b"Cos")
        return made

    project.save(parsed("agraph (float[3] x) => (float[3] z) { y = Exp (x)  z = Sin (y) }"))
    monkeypatch.setattr(onnx_source, "put_marks", spoiled)
    project.recipe(two("'y'", "z"))
    with pytest.raises(
        ProofError, match="output 'z', sample 0: end2end differs from the ONNX file"
    ):
        project.make()


def test_the_manifest_names_the_file(project: Project) -> None:
    project.recipe(two("conv_1, {node: /neck/Relu}", "scores, boxes", "image"))
    (build,) = [project.built("build", "recipe=x")]
    assert "2 boundary" not in build
    manifest = json.loads((project.folder / "build" / "x" / "manifest.json").read_text())
    assert manifest["recipe"]["model"]["location"] == "detector.onnx"
    assert len(manifest["export"]["model_sha256"]) == 64
    edges = {(edge["producer"], edge["output"], edge["consumer"]) for edge in manifest["edges"]}
    assert ("a.onnx", "/neck/out", "b.onnx") in edges


def test_a_file_with_mark_nodes_needs_no_marks_in_its_recipe(project: Project) -> None:
    project.save(detector())
    segments = (
        "partition:\n  type: two\n  segments:\n"
        "    - {save_file: a.onnx, start: ['whole:input'], end: ['neck:input']}\n"
        "    - {save_file: b.onnx, start: ['neck:input'], end: ['whole:output']}\n"
    )
    project.recipe(
        LINE + "marks:\n  - {name: whole, inputs: [image], outputs: [scores, boxes]}\n"
        "  - {name: neck, tensors: [conv_1, /neck/out]}\n" + segments
    )
    first = project.make()
    project.save(first["end2end.onnx"])
    project.recipe(LINE + segments)
    again = project.make()
    assert [len(again[name].graph.node) for name in ("a.onnx", "b.onnx")] == [
        len(first[name].graph.node) for name in ("a.onnx", "b.onnx")
    ]
