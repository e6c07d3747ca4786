"""What users of other cutters ran into, each as a small model: ours cuts it right, or says why not.

Each test names the public report whose kind of fault it has. The models are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx.parser
import onnx.shape_inference
import pytest
from onnx import TensorProto, numpy_helper

from partition_core.base.errors import CutError
from partition_core.graph.files import cut_between
from tests.cutting.chains import equal, run
from tests.onnx_source.chaining import LINE, chained, two
from tests.onnx_source.projects import Project

pytestmark = pytest.mark.usefixtures("native_code_here")

Feeds = Mapping[str, np.ndarray]
Made = Mapping[str, onnx.ModelProto]

HEAD = '<ir_version: 10, opset_import: ["": 20, "local": 1, "other": 1, "com.microsoft": 1]>\n'
X = np.array([1.5, -2.0, 0.25], np.float32)
SIGNS = (X, -X)
"""The sum of the first is negative and that of the second positive: both branches are taken."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PARTITION_CORE_STORE", str(tmp_path / "store"))
    return Project(tmp_path / "project", tmp_path / "store")


def cut_in_two(project: Project, text: str, recipe: str, *feeds: Feeds) -> Made:
    """Build with a proof; the pieces must be valid, and their chain equal the file for `feeds`."""
    project.save(onnx.parser.parse_model(HEAD + text))
    project.recipe(recipe)
    for one in feeds:
        made = chained(project, dict(one))
    for name in ("a.onnx", "b.onnx"):
        onnx.checker.check_model(made[name], full_check=True)
    return made


def part(start: str, end: str) -> str:
    return LINE + f"partition: {{save_file: part.onnx, from: [{start}], to: [{end}]}}\n"


def names_of(items: object) -> list[str]:
    return [item.name for item in items]  # type: ignore[attr-defined]  # protobuf's lists


def dims_of(item: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in item.type.tensor_type.shape.dim]


LOCAL = """
pixels (uint8[4, 4, C] x) => (uint8[4, 4, C] y) {
  lifted = local.lift (x)
  y = other.lift (lifted)
}
<domain: "local", opset_import: ["": 20]>
lift (p) => (q) { q = BitwiseNot (p) }
<domain: "other", opset_import: ["": 20, "local": 1]>
lift (p) => (q) { twice = local.twice (p)  q = Max (p, twice) }
<domain: "local", opset_import: ["": 20]>
twice (p) => (q) { q = BitwiseXor (p, p) }
"""


def test_a_boundary_that_a_local_function_makes_was_unknown(project: Project) -> None:
    """onnx/onnx issue 3938.

    The type of the boundary has to be inferred through the function, each piece keeps the
    functions that it calls and those that they call, and a name in two domains is two functions.
    """
    recipe = two("lifted", "'y'").replace(
        "partition:", "export: {inputs: {x: {shape: [4, 4, 3]}}}\npartition:"
    )
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    made = cut_in_two(project, LOCAL, recipe, {"x": pixels})
    called = {file: {(f.domain, f.name) for f in made[file].functions} for file in made}
    assert called["a.onnx"] == {("local", "lift")}
    assert called["b.onnx"] == {("other", "lift"), ("local", "twice")}
    (crossing,) = made["b.onnx"].graph.input
    assert crossing.type.tensor_type.elem_type == TensorProto.UINT8
    assert crossing.type.tensor_type.shape.dim[2].dim_param == "C"


BRANCHES = """
branches (float[3] x) => (float[3] y) <float[3] w = {1.0, 2.0, 3.0}, float zero = {0.0}> {
  a = Sin (x)
  sum = ReduceSum <keepdims = 0> (a)
  positive = Greater (sum, zero)
  [choose] y = If (positive) <
    then_branch = yes () => (float[3] yes_y) { h = Mul (a, w)  yes_y = THEN (h) },
    else_branch = no () => (float[3] no_y) { h = Add (a, w)  no_y = Neg (h) }
  >
}
"""
NESTED = """
<domain: "local", opset_import: ["": 20, "local": 1]>
outer (p) => (q) {
  zero = Constant <value = float {0.0}> ()
  least = ReduceMin <keepdims = 0> (p)
  negative = Less (least, zero)
  q = If (negative) <
    then_branch = yes () => (float[3] yes_q) { yes_q = local.double (p) },
    else_branch = no () => (float[3] no_q) { no_q = Identity (p) }
  >
}
<domain: "local", opset_import: ["": 20]>
double (p) => (q) { q = Add (p, p) }
<domain: "local", opset_import: ["": 20]>
idle (p) => (q) { q = Abs (p) }
"""


def test_a_function_called_only_in_a_branch_was_lost(project: Project) -> None:
    """onnx/onnx pull request 8435: here also from a branch inside a function."""
    text = BRANCHES.replace("THEN", "local.outer") + NESTED
    feeds = [{"x": one} for one in SIGNS]
    made = cut_in_two(project, text, two("a", "'y'"), *feeds)
    assert names_of(made["b.onnx"].functions) == ["outer", "double"]
    assert not made["a.onnx"].functions


def test_a_weight_read_only_in_a_branch_was_lost(project: Project) -> None:
    """onnx/onnx issue 4090: bodies read tensors and weights around them without listing them."""
    text = BRANCHES.replace("THEN", "Exp")
    feeds = [{"x": one} for one in SIGNS]
    made = cut_in_two(project, text, two("a, positive", "'y'"), *feeds)
    assert names_of(made["b.onnx"].graph.initializer) == ["w"]
    assert names_of(made["b.onnx"].graph.input) == ["a", "positive"]
    assert [node.op_type for node in made["b.onnx"].graph.node] == ["If"]


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (part("h", "'y'"), "partition.from[0]: 'h'"),
        (part("a", "yes_y"), "partition.to[0]: 'yes_y'"),
    ],
)
def test_a_tensor_inside_a_branch_gave_a_key_error(
    project: Project, recipe: str, told: str
) -> None:
    """onnx/onnx issue 6229: the tensors were those of one branch of a Whisper decoder."""
    project.save(onnx.parser.parse_model(HEAD + BRANCHES.replace("THEN", "Exp")))
    project.recipe(recipe)
    (line,) = project.told()
    assert line == (
        f"recipes/x.yaml:2: {told} lies inside a body of If node 'choose'; a segment starts and "
        "ends in the main graph; name a tensor outside it"
    )


CAPTURED = """
captured (float[2, 3] x) => (float[3] last, float[t, 3] all, float[2, 3] scanned)
<int64 count = {2}, bool yes = {1}, float[3] w = {1.0, 0.5, 2.0}, int64[1] first = {0}> {
  a = Sin (x)
  rows = ReduceSum <keepdims = 0> (a, first)
  state = Mul (rows, w)
  last, all = Loop (count, yes, state) <body = loop (int64 i, bool go, float[3] s)
    => (bool go_on, float[3] next, float[3] row) {
      go_on = Identity (go)
      inner = If (go) <
        then_branch = yes_b () => (float[3] yes_i) { yes_i = Add (s, rows) },
        else_branch = no_b () => (float[3] no_i) { no_i = Sub (s, w) }
      >
      next = Mul (inner, w)
      row = Tanh (next)
    }>
  end, scanned = Scan (state, a) <num_scan_inputs = 1, body = scan (float[3] s, float[3] e)
    => (float[3] s_next, float[3] o) { s_next = Add (s, e)  o = Mul (s_next, rows) }>
}
"""


def test_a_boundary_that_bodies_capture_was_not_supported(project: Project) -> None:
    """onnx/onnx pull request 2994: its review asks what nested scopes read of the outer graph.

    `rows` enters Loop, an If in it, and Scan by being captured only, `a` and `state` are listed.
    """
    feeds = {"x": np.stack([X, -2 * X])}
    made = cut_in_two(project, CAPTURED, two("a, rows, state", "last, all, scanned"), feeds)
    assert names_of(made["b.onnx"].graph.input) == ["a", "rows", "state"]
    assert [node.op_type for node in made["b.onnx"].graph.node] == ["Loop", "Scan"]


ROWS = 580_000_000
LARGE = """
large (int64[2] x) => (float[2] y) { picked = Gather (table, x)  h = Mul (picked, w)  y = Exp (h) }
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model with 2.3 GB of weights beside it and no types inside."""
    folder = tmp_path_factory.mktemp("large")
    model = onnx.parser.parse_model(HEAD + LARGE)
    table = TensorProto(name="table", dims=[ROWS], data_type=TensorProto.FLOAT)
    table.data_location = TensorProto.EXTERNAL
    table.external_data.add(key="location", value="weights/table.bin")
    model.graph.initializer.extend([table, numpy_helper.from_array(X[:2], "w")])
    (folder / "weights").mkdir()
    with (folder / "weights" / "table.bin").open("wb") as stream:
        stream.truncate(ROWS * 4)  # a hole: it takes no room on the disk
        stream.seek(ROWS * 4 - 8)
        stream.write(X[1:].tobytes())
    file = folder / "whole.onnx"
    file.write_bytes(model.SerializeToString())
    return file


LAST = {"x": np.array([ROWS - 2, ROWS - 1])}


def test_a_small_piece_of_a_large_model_could_not_be_had(large: Path, tmp_path: Path) -> None:
    """onnx/onnx issue 5249: types were inferred with 3 GB of weights inside one message."""
    piece = tmp_path / "part.onnx"
    cut_between(large, ["picked"], ["y"], piece)
    onnx.checker.check_model(str(piece), full_check=True)
    assert piece.stat().st_size < 1000
    expected = np.exp(np.array([2, 3], np.float32) * X[:2])
    assert np.allclose(run(piece, {"picked": np.array([2, 3], np.float32)})["y"], expected)


def test_a_piece_above_2_gb_could_not_be_written(large: Path, tmp_path: Path) -> None:
    """onnx/onnx issue 6172: it fits no single file; the message says so, and what to do."""
    piece = tmp_path / "part.onnx"
    with pytest.raises(CutError) as caught:
        cut_between(large, ["x"], ["h"], piece)
    assert str(caught.value).startswith("part.onnx: it would have 23200")
    assert str(caught.value).endswith(
        "no ONNX file can have more than 2147483647; keep its weights in a file of their own "
        "(in a recipe: `export.weights`)"
    )
    assert not list(tmp_path.iterdir())


def test_a_piece_had_to_have_a_copy_of_the_weights(large: Path) -> None:
    """onnx/onnx issue 6352: pieces refer to the file with the weights of the whole, of any size."""
    first, second = large.with_name("first.onnx"), large.with_name("second.onnx")
    before = sorted(large.parent.rglob("*"))
    cut_between(large, ["x"], ["picked"], first, weights="referred")
    cut_between(large, ["picked"], ["y"], second, weights="referred")
    for piece in (first, second):
        onnx.checker.check_model(str(piece), full_check=True)
    assert sorted(large.parent.rglob("*")) == sorted([*before, first, second])
    assert first.stat().st_size < 1000
    assert equal(run(second, run(first, LAST))["y"], run(large, LAST)["y"])


UNET = """
unet (float[1, 2, 8, 8] sample, int64[2] timestep) => (float[1, 2, 8, 8] noise) {
  time = Gather (table, timestep)
  scale = ReduceSum <keepdims = 0> (time)
  down_0 = Conv <pads = [1, 1, 1, 1]> (sample, w0)
  down_1 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (down_0, w1)
  middle = Mul (down_1, scale)
  grown = Resize <mode = "nearest"> (middle, , grow)
  joined = Add (grown, down_0)
  noise = Conv <pads = [1, 1, 1, 1]> (joined, w2)
}
"""


def test_the_inputs_of_a_large_unet_disappeared(large: Path) -> None:
    """onnx/onnx issue 6368: M of 3 GB cut into M1 and M2, so that M2(M1(x)) = M(x).

    What skips the middle has to cross as well; without it the message names it.
    """
    model = onnx.parser.parse_model(HEAD + UNET)
    model.graph.initializer.append(onnx.load(large, load_external_data=False).graph.initializer[0])
    draw = np.random.default_rng(6).normal
    for name in ("w0", "w1", "w2"):
        kernel = draw(size=(2, 2, 3, 3)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(kernel, name))
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1, 1, 2, 2]), "grow"))
    whole = large.with_name("unet.onnx")
    onnx.save(model, whole)
    m1, m2 = large.with_name("m1.onnx"), large.with_name("m2.onnx")
    with pytest.raises(CutError) as caught:
        cut_between(whole, ["middle"], ["noise"], m2, weights="referred")
    assert "segment 'm2.onnx' needs 'sample', which its start does not list" in str(caught.value)
    crossing = ["down_0", "middle"]
    cut_between(whole, ["sample", "timestep"], crossing, m1, weights="referred")
    cut_between(whole, crossing, ["noise"], m2, weights="referred")
    for piece in (m1, m2):
        onnx.checker.check_model(str(piece), full_check=True)
    x = {"sample": draw(size=(1, 2, 8, 8)).astype(np.float32), "timestep": LAST["x"]}
    assert names_of(onnx.load(m1, load_external_data=False).graph.input) == list(x)
    assert equal(run(m2, run(m1, x))["noise"], run(whole, x)["noise"])


READ_ON = """
outputs (float[3] x) => (float[3] middle, float[3] y) { middle = Sin (x)  y = Exp (middle) }
"""


def test_an_output_that_is_read_on_could_not_be_a_start(project: Project) -> None:
    """onnx/onnx pull request 6920: the output `middle` of the file is an input of a piece."""
    made = cut_in_two(project, READ_ON, two("middle", "'y', middle"), {"x": X})
    assert names_of(made["end2end.onnx"].graph.output) == ["middle", "y"]
    assert names_of(made["b.onnx"].graph.input) == ["middle"]
    assert names_of(made["b.onnx"].graph.output) == ["y", "middle"]
    assert [node.op_type for node in made["b.onnx"].graph.node] == ["Exp"]


MESH = """
mesh (float[1, 8, 8, 3] image) => (float[1, 2] y) {
  turned = Transpose <perm = [0, 3, 1, 2]> (image)
  mesh = Conv (turned, kernel)
  pooled = GlobalAveragePool (mesh)
  flat = Flatten (pooled)
  face = Gemm (flat, dense)
  y = Softmax (face)
}
"""


def test_an_output_without_a_shape_was_taken_for_a_scalar(project: Project) -> None:
    """NVIDIA/TensorRT issue 1982: `mesh` is read on in the piece, by what needs its rank."""
    model = onnx.parser.parse_model(HEAD + MESH)
    draw = np.random.default_rng(7).normal
    for name, shape in (("kernel", (4, 3, 3, 3)), ("dense", (4, 2))):
        weight = draw(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    assert not model.graph.value_info
    project.save(model)
    project.recipe(part("image", "mesh, face"))
    piece = project.make()["part.onnx"]
    onnx.checker.check_model(piece, full_check=True)
    assert [dims_of(item) for item in piece.graph.output] == [[1, 4, 6, 6], [1, 2]]
    onnx.save(piece, project.folder / "part.onnx")
    image = {"image": draw(size=(1, 8, 8, 3)).astype(np.float32)}
    model.graph.output.extend(piece.graph.output)
    onnx.save(model, project.folder / "all.onnx")
    whole = run(project.folder / "all.onnx", image)
    made = run(project.folder / "part.onnx", image)
    assert all(equal(made[name], whole[name]) for name in ("mesh", "face"))


MARKED = """
<ir_version: 8, opset_import: ["": 17, "mmdeploy": 1]>
points (float[1, 3, 8, 8] x) => (float[1, 4, 7, 7] y) {
  pillars = Conv (x, w0)
  pillars_marked = mmdeploy.Mark <func = "pillars", func_id = 0, type = "input", name = "pillars",
    id = 0> (pillars)
  spread = Conv <pads = [1, 1, 1, 1]> (pillars_marked, w1)
  spread_marked = mmdeploy.Mark <func = "neck", func_id = 0, type = "input", name = "spread",
    id = 0> (spread)
  kept = Relu (spread_marked)
  y = MaxPool <kernel_shape = [2, 2]> (kept)
}
"""
THREE = (
    LINE + "marks:\n  - {name: whole, inputs: [x], outputs: ['y']}\n"
    "partition:\n  type: three\n  segments:\n"
    "    - {save_file: a.onnx, start: ['whole:input'], end: ['pillars:input']}\n"
    "    - {save_file: b.onnx, start: ['pillars:input'], end: ['neck:input']}\n"
    "    - {save_file: c.onnx, start: ['neck:input'], end: ['whole:output']}\n"
)


def test_shapes_ended_at_the_first_mark(project: Project) -> None:
    """open-mmlab/mmdeploy issue 2796: what lies behind a Mark node had no shapes in the pieces.

    Nothing tells a shape here, not even the marks: it has to be inferred through all of them.
    """
    model = onnx.parser.parse_model(MARKED)
    draw = np.random.default_rng(8).normal
    for name, shape in (("w0", (4, 3, 1, 1)), ("w1", (4, 4, 3, 3))):
        weight = draw(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    project.save(model)
    project.recipe(THREE)
    made = project.make()
    values = {"x": draw(size=(1, 3, 8, 8)).astype(np.float32)}
    onnx.save(made["end2end.onnx"], project.folder / "end2end.onnx")
    whole = run(project.folder / "end2end.onnx", values)
    for name in ("a.onnx", "b.onnx", "c.onnx"):
        piece = made[name]
        onnx.checker.check_model(piece, full_check=True)
        known = onnx.shape_inference.infer_shapes(piece, strict_mode=True).graph
        for item in (*piece.graph.input, *piece.graph.output, *known.value_info):
            assert all(dims_of(item)), f"{name}: {item.name}"
        assert not [node for node in piece.graph.node if node.op_type == "Mark"]
        onnx.save(piece, project.folder / name)
        values = run(project.folder / name, values)
    assert equal(values["y"], whole["y"])


LEFT_OUT = """
left_out (float[5, 1, 4] x) => (float[5, 1, 1, 3] y) <float least = {-1.0}> {
  above = Clip (x, , least)
  kept, mask = Dropout (above)
  states, last, cell = LSTM <hidden_size = 3> (kept, w, r, , , begin)
  y = Tanh (states)
}
"""


@pytest.mark.parametrize("used", ["none", "cell"])
def test_optional_inputs_and_outputs_without_a_name_were_taken_for_one_tensor(
    project: Project, used: str
) -> None:
    """onnx/onnx pull request 6587: several nodes leave inputs or outputs out in the middle."""
    model = onnx.parser.parse_model(HEAD + LEFT_OUT)
    draw = np.random.default_rng(9).normal
    for name, shape in (("w", (1, 12, 4)), ("r", (1, 12, 3)), ("begin", (1, 1, 3))):
        weight = draw(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    model.graph.node[1].output[1] = ""
    model.graph.node[2].output[1] = ""
    if used == "none":
        model.graph.node[2].output[2] = ""
    project.save(model)
    project.recipe(two("kept", "'y'"))
    made = chained(project, {"x": draw(size=(5, 1, 4)).astype(np.float32)})
    assert list(made["a.onnx"].graph.node[0].input) == ["x", "", "least"]
    assert list(made["b.onnx"].graph.node[0].input) == ["kept", "w", "r", "", "", "begin"]
    assert made["b.onnx"].graph.node[0].output[1] == ""


NORMED = """
<ir_version: 8, opset_import: ["": 14]>
normed (float[2, 4] x) => (float[2, 4] y) <float[4] w = {1.0, 2.0, 3.0, 4.0}, float[2, 4] a> {
  a = SimplifiedLayerNormalization <axis = -1, epsilon = 0.00001> (x, w)
  b = Sin (a)
  y = SimplifiedLayerNormalization <axis = -1, epsilon = 0.00001> (b, w)
}
"""


def test_an_operator_of_onnxruntime_alone_was_refused(project: Project) -> None:
    """onnx/onnx issue 6328: Phi-3 has them in ONNX's own domain, where onnx.checker knows none."""
    project.save(onnx.parser.parse_model(NORMED))
    project.recipe(two("a", "'y'"))
    x = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)
    chained(project, {"x": x}, valid=False)


def test_a_long_chain_of_nodes_was_followed_by_recursion(tmp_path: Path) -> None:
    """onnx/onnx issue 6423: a UNet was deeper than Python's stack."""
    model = onnx.parser.parse_model(HEAD + "deep (float[3] x) => (float[3] t4000) { t1 = Sin (x) }")
    for number in range(1, 4000):
        model.graph.node.add(op_type="Sin", input=[f"t{number}"], output=[f"t{number + 1}"])
    whole, first, second = (tmp_path / f"{name}.onnx" for name in ("whole", "first", "second"))
    onnx.save(model, whole)
    cut_between(whole, ["x"], ["t3000"], first)
    cut_between(whole, ["t3000"], ["t4000"], second)
    for piece in (first, second):
        onnx.checker.check_model(str(piece), full_check=True)
    assert equal(run(second, run(first, {"x": X}))["t4000"], run(whole, {"x": X})["t4000"])
