"""Where the structure of a model says that its post-processing begins, a row of the rule each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from partition_core.base.errors import CutError
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.mark_nodes import put_marks
from partition_core.graph.named_tensors import NamedTensor, marks_by_name
from partition_core.graph.structural_marks import structural_marks
from partition_core.recipe.values import Cut

from .structures import BINS, MATRIX, Weights, parsed, written

W: Weights = {"w": (4, 3, 3, 3), "b": (4,)}
CONV = "c = Conv<pads=[1,1,1,1]>(x, w, b)"

ROWS: dict[str, tuple[str, Weights, list[str]]] = {
    "a convolution": (f"{CONV} y = Sigmoid(c)", W, ["c"]),
    "a convolution whose kernel is computed has no weights": (
        f"{CONV} k = Slice(c, zero, two) d = Conv(c, k) y = Sigmoid(d)",
        {**W, "zero": np.array([0]), "two": np.array([1])},
        ["c"],
    ),
    "each way to an output ends by itself": (
        f"{CONV} d = Conv(x, w) s = Sigmoid(c) e = Exp(d) y = Concat<axis=1>(s, e)",
        W,
        ["c", "d"],
    ),
    "what is between weights is the network's": (
        f"{CONV} s = Softmax(c) d = Conv(s, v) y = Exp(d)",
        {**W, "v": (2, 4, 1, 1)},
        ["d"],
    ),
    "a decoder's attention is no post-processing": (
        "f = Reshape(x, sizes) q = MatMul(f, wq) k = MatMul(f, wk) t = Transpose<perm=[0,2,1]>(k) "
        "a = MatMul(q, t) s = Softmax(a) o = MatMul(s, q) l = MatMul(o, wo) y = Sigmoid(l)",
        {"sizes": np.array([1, 24, 8]), "wq": (8, 8), "wk": (8, 8), "wo": (8, 8)},
        ["l"],
    ),
    "a product of two computed tensors has no weights": (
        f"{CONV} d = Conv(x, v) y = MatMul(c, d)",
        {**W, "v": (4, 3, 3, 3)},
        ["c", "d"],
    ),
    "the sum of a DFL": (
        f"{CONV} r = Reshape(c, sizes) t = Softmax<axis=1>(r) y = Conv(t, bins)",
        {**W, "sizes": np.array([1, 16, 4, 4]), "bins": BINS.reshape(1, 16, 1, 1)},
        ["c"],
    ),
    "the sum of a DFL as a product": (
        f"{CONV} r = Reshape(c, sizes) t = Softmax(r) y = MatMul(t, bins)",
        {**W, "sizes": np.array([1, 16, 16]), "bins": BINS},
        ["c"],
    ),
    "the sum of a DFL whose bins are quantized": (
        f"{CONV} r = Reshape(c, sizes) t = Softmax<axis=1>(r) "
        "q = DequantizeLinear(bins, scale) y = Conv(t, q)",
        {
            **W,
            "sizes": np.array([1, 16, 4, 4]),
            "bins": np.arange(-127, 129, 17).astype(np.int8).reshape(1, 16, 1, 1),
            "scale": np.float32(0.118),
        },
        ["c"],
    ),
    "a matrix that changes the form of boxes": (
        f"{CONV} r = Reshape(c, sizes) y = MatMul(r, matrix)",
        {**W, "sizes": np.array([1, 64, 4]), "matrix": MATRIX},
        ["c"],
    ),
    "a sum over positions in steps of one size": (
        f"{CONV} r = Reshape(c, sizes) t = Softmax(r) y = MatMul(t, steps)",
        {
            **W,
            "sizes": np.array([4, 64]),
            "steps": np.linspace(0, 1, 64, dtype=np.float32)[:, None],
        },
        ["c"],
    ),
    "a layer whose weights are still zero": (
        f"{CONV} r = Reshape(c, sizes) l = MatMul(r, zeros) y = Sigmoid(l)",
        {**W, "sizes": np.array([1, 64, 4]), "zeros": np.zeros((4, 4), np.float32)},
        ["l"],
    ),
    "anchors and strides are constants": (
        f"{CONV} r = Reshape(c, sizes) a = Add(r, anchors) y = Mul(a, strides)",
        {**W, "sizes": np.array([1, 4, 64]), "anchors": (1, 4, 64), "strides": (1, 64)},
        ["c"],
    ),
    "a table that is looked up": (
        f"{CONV} r = Reshape(c, sizes) v, i = TopK(r, five) y = Gather(table, i)",
        {
            **W,
            "sizes": np.array([256]),
            "five": np.array([5]),
            "table": (256, 4),
        },
        ["c"],
    ),
    "a bias behind a product": (
        "r = Reshape(x, sizes) m = MatMul(r, v) l = Add(bias, m) y = Softmax(l)",
        {"sizes": np.array([1, 24, 8]), "v": (8, 5), "bias": (5,)},
        ["l"],
    ),
    "anchors behind a product are no bias": (
        "r = Reshape(x, sizes) m = MatMul(r, v) a = Add(m, anchors) y = Softmax(a)",
        {"sizes": np.array([1, 24, 8]), "v": (8, 4), "anchors": (24, 4)},
        ["m"],
    ),
    "a constant behind a convolution that has a bias": (
        f"{CONV} a = Add(c, offsets) y = Exp(a)",
        {**W, "offsets": (4, 1, 1)},
        ["c"],
    ),
    "batch norm behind a convolution": (
        f"{CONV} n = BatchNormalization(c, s, b, b, s) y = Sigmoid(n)",
        {**W, "s": np.ones(4, np.float32)},
        ["n"],
    ),
    "batch norm without a convolution": (
        "n = BatchNormalization(x, s, s, s, s) y = Sigmoid(n)",
        {"s": np.ones(3, np.float32)},
        ["n"],
    ),
    "a norm that is written out": (
        f"{CONV} m = ReduceMean(c, axis) d = Sub(c, m) p = Mul(d, d) v = ReduceMean(p, axis) "
        "r = Sqrt(v) n = Div(d, r) g = Mul(n, gamma) l = Add(g, beta) y = Sigmoid(l)",
        {**W, "axis": np.array([3]), "gamma": (8,), "beta": (8,)},
        ["l"],
    ),
    "an activation of the last layer": (f"{CONV} r = Relu(c) y = Sigmoid(r)", W, ["r"]),
    "SiLU of the last layer": (
        f"{CONV} g = Sigmoid(c) s = Mul(g, c) y = Softmax(s)",
        W,
        ["s"],
    ),
    "a sigmoid that multiplies something else is no SiLU": (
        f"{CONV} d = Conv(x, w) g = Sigmoid(c) y = Mul(g, d)",
        W,
        ["c", "d"],
    ),
    "a quantized convolution, with what makes integers of it and back": (
        "q = DequantizeLinear(k, scale) c = Conv(x, q) i = QuantizeLinear(c, scale) "
        "d = DequantizeLinear(i, scale) y = Sigmoid(d)",
        {"k": np.ones((4, 3, 3, 3), np.uint8), "scale": np.float32(0.1)},
        ["d"],
    ),
    "a small kernel of integers": (
        "q = QuantizeLinear(x, scale) c = QLinearConv(q, scale, zero, k, scale, sign, scale, zero) "
        "d = DequantizeLinear(c, scale) y = Sigmoid(d)",
        {
            "k": np.arange(-6, 6, dtype=np.int8).reshape(4, 3, 1, 1),
            "scale": np.float32(0.1),
            "zero": np.uint8(0),
            "sign": np.int8(0),
        },
        ["d"],
    ),
    "recurrent layers": (
        "r = Reshape(x, sizes) h, s = GRU<hidden_size=4>(r, w, u) y = Sigmoid(h)",
        {"sizes": np.array([3, 8, 8]), "w": (1, 12, 8), "u": (1, 12, 4)},
        ["h"],
    ),
    "weights in a branch": (
        f"{CONV} m = ReduceMax<keepdims=0>(c) is = Greater(m, zero) "
        "d = If(is) <then_branch = t () => (u) { u = Conv(c, v) }, "
        "else_branch = e () => (z) { z = Identity(c) }> y = Sigmoid(d)",
        {**W, "zero": np.float32(0), "v": (4, 4, 1, 1)},
        ["d"],
    ),
    "a branch without weights is post-processing": (
        f"{CONV} m = ReduceMax<keepdims=0>(c) is = Greater(m, zero) "
        "y = If(is) <then_branch = t () => (u) { u = Sigmoid(c) }, "
        "else_branch = e () => (z) { z = Exp(c) }>",
        {**W, "zero": np.float32(0)},
        ["c"],
    ),
    "onnxruntime's own layers": (
        'c = com.microsoft.FusedConv<activation="Relu">(x, w, b) y = Sigmoid(c)',
        W,
        ["c"],
    ),
    "an unknown operator in front of weights": (
        "u = other.Magic(x, table) c = Conv(u, w) y = Sigmoid(c)",
        {**W, "table": (4, 4)},
        ["c"],
    ),
    "a suppression behind the weights": (
        f"{CONV} r = Reshape(c, sizes) s = Reshape(c, row) y = NonMaxSuppression(r, s)",
        {**W, "sizes": np.array([1, 64, 4]), "row": np.array([1, 1, 256])},
        ["c"],
    ),
    "sizes of the network cross as sizes": (
        f"{CONV} d = Conv(c, v) n = Shape(c) s = Sigmoid(d) y = Resize(s, , , n)",
        {**W, "v": (2, 4, 1, 1)},
        ["d", "n"],
    ),
}


def names(model: onnx.ModelProto, folder: Path, mark: str, side: str, cut: Cut) -> list[str]:
    """Return the names of the tensors on one side of a structural mark."""
    table = structural_marks(read_model(written(model, folder)), cut, is_file=True)
    return [t.name for t in table.tensors if (t.mark, t.side) == (mark, side)]


@pytest.mark.parametrize("row", ROWS)
def test_the_network_ends_behind_its_last_weights(row: str, tmp_path: Path) -> None:
    nodes, weights, heads = ROWS[row]
    model = parsed(nodes, weights)
    assert names(model, tmp_path, "front", "output", "raw_heads") == heads
    assert names(model, tmp_path, "tail", "input", "raw_heads") == heads
    assert names(model, tmp_path, "front", "input", "raw_heads") == ["x"]
    assert names(model, tmp_path, "tail", "output", "raw_heads") == ["y"]


@pytest.mark.parametrize("row", ROWS)
def test_marks_move_no_cut(row: str, tmp_path: Path) -> None:
    nodes, weights, heads = ROWS[row]
    model = read_model(written(parsed(nodes, weights), tmp_path))
    values = [value.name for node in model.graph for value in node.outputs]
    every = [NamedTensor("all", "output", (name,), name, "here") for name in values]
    marked = put_marks(model, marks_by_name(model, every).tensors)
    table = structural_marks(marked, "raw_heads", is_file=True)
    assert [t.value.name for t in table.tensors if (t.mark, t.side) == ("front", "output")] == heads


LAYER = """
<domain: "other", opset_import: ["" : 20]> layer (a, k) => (z) { z = Conv(a, k) }
<domain: "other", opset_import: ["" : 20]> decode (a) => (z) { s = Sigmoid(a) z = Exp(s) }
<domain: "other", opset_import: ["" : 20]> both (a, k) => (z) { s = other.layer(a, k) z = Exp(s) }
"""


@pytest.mark.parametrize(
    ("nodes", "heads"),
    [
        ("c = other.layer(x, w) y = other.decode(c)", ["c"]),
        ("c = other.both(x, w) y = other.decode(c)", ["c"]),
        ("c = Conv(x, w) k = Slice(c, zero, one) d = other.layer(c, k) y = Exp(d)", ["c"]),
    ],
)
def test_a_function_has_weights_if_it_is_given_some(
    nodes: str, heads: list[str], tmp_path: Path
) -> None:
    weights: Weights = {"w": (4, 3, 3, 3), "zero": np.array([0]), "one": np.array([1])}
    model = parsed(nodes, weights, functions=LAYER)
    assert names(model, tmp_path, "front", "output", "raw_heads") == heads


TWO_SCALES = (
    "a = Conv(x, wa) b = Conv<strides=[2,2]>(x, wb) ra = Reshape(a, flat) rb = Reshape(b, flat) "
    "j = Concat<axis=2>(ra, rb) "
)
SCALES: Weights = {"wa": (5, 3, 1, 1), "wb": (5, 3, 2, 2), "flat": np.array([1, 5, -1])}


@pytest.mark.parametrize(
    ("tail", "heads"),
    [
        ("y = Sigmoid(j)", ["j"]),
        ("t = Transpose<perm=[0,2,1]>(j) y = Sigmoid(t)", ["j"]),
        ("p, q = Split<axis=1, num_outputs=2>(j) s = Sigmoid(p) y = Concat<axis=1>(s, q)", ["j"]),
        ("sa = Sigmoid(ra) y = Concat<axis=2>(sa, j)", ["a", "b"]),
        ("n = Shape(j) e = Sigmoid(j) y = Reshape(e, n)", ["j"]),
    ],
    ids=["joined", "arranged behind it", "split again", "not joined alone", "its size"],
)
def test_heads_that_are_only_joined_cross_as_the_model_joins_them(
    tail: str, heads: list[str], tmp_path: Path
) -> None:
    model = parsed(TWO_SCALES + tail, SCALES)
    assert names(model, tmp_path, "front", "output", "joined_heads") == heads
    assert names(model, tmp_path, "front", "output", "raw_heads") == ["a", "b"]


def test_inputs_go_to_the_part_that_reads_them(tmp_path: Path) -> None:
    model = parsed(
        "s = Mul(size, two) c = Conv(x, w) e = Mul(c, s) y = Exp(e) z = Identity(size)",
        {"w": (4, 3, 3, 3), "two": np.float32(2)},
        inputs="float[1,3,8,8] x, float[1] size",
        outputs="float[N] y, float[1] z",
    )
    assert names(model, tmp_path, "front", "input", "raw_heads") == ["x"]
    assert names(model, tmp_path, "tail", "input", "raw_heads") == ["c", "size"]
    assert names(model, tmp_path, "tail", "output", "raw_heads") == ["y", "z"]
    assert names(model, tmp_path, "model", "input", "raw_heads") == ["x", "size"]


def test_an_output_of_the_network_is_one_of_the_model_too(tmp_path: Path) -> None:
    model = parsed(
        f"{CONV} y = Sigmoid(c) z = Conv(c, v)",
        {**W, "v": (2, 4, 1, 1)},
        outputs="float[N] y, float[N] z",
    )
    assert names(model, tmp_path, "front", "output", "raw_heads") == ["c", "z"]
    assert names(model, tmp_path, "tail", "input", "raw_heads") == ["c"]
    assert names(model, tmp_path, "tail", "output", "raw_heads") == ["y"]


CLASS, BOX = "k{0} = Conv({1}, t{0}) l{0} = Relu(k{0}) c{0} = Conv(l{0}, v)", "b{0} = Conv({1}, v)"
SILU = "g{0} = Sigmoid({1}) s{0} = Mul({1}, g{0}) "
JOIN = " y = Concat<axis=1>({}) z = Sigmoid(y)"
TOWERS: Weights = {
    "p": (4, 3, 1, 1),
    "q": (4, 4, 2, 2),
    "t0": (4, 4, 1, 1),
    "t1": (4, 4, 1, 1),
    "v": (4, 4, 1, 1),
}
TWO_SCALES_OF_TOWERS = " ".join(
    tower.format(scale, f"p{scale}") for scale in (0, 1) for tower in (CLASS, BOX)
)
FLAT_TOWERS = (
    " f0 = Flatten<axis=1>(c0) f1 = Flatten<axis=1>(b0) f2 = Flatten<axis=1>(c1) "
    "f3 = Flatten<axis=1>(b1)" + JOIN.format("f0, f1, f2, f3")
)
DENSE: dict[str, tuple[str, list[str]]] = {
    "two towers for each scale": (
        f"p0 = Conv(x, p) p1 = Conv<strides=[2,2]>(p0, q) {TWO_SCALES_OF_TOWERS}{FLAT_TOWERS}",
        ["p0", "p1"],
    ),
    "a layer of the neck that only the last scale reads": (
        "p0 = Conv(x, p) n = Conv<strides=[2,2]>(p0, q) r = Relu(n) o = Add(r, n) p1 = Conv(o, v) "
        f"{TWO_SCALES_OF_TOWERS}{FLAT_TOWERS}",
        ["p0", "p1"],
    ),
    "branches that part twice, with SiLU": (
        "p0 = Conv(x, p) "
        + SILU.format(0, "p0") + CLASS.format(0, "s0") + " u = Conv(s0, v) "
        + SILU.format(1, "u") + "b = Conv(s1, v) o = Conv(s1, v) "
        "f0 = Flatten<axis=1>(c0) f1 = Flatten<axis=1>(b) f2 = Flatten<axis=1>(o)"
        + JOIN.format("f0, f1, f2"),
        ["s0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DENSE)
def test_features_are_the_maps_that_the_towers_of_a_scale_share(case: str, tmp_path: Path) -> None:
    nodes, features = DENSE[case]
    model = parsed(nodes, TOWERS, outputs="float[N] z")
    assert names(model, tmp_path, "front", "output", "features") == features
    assert names(model, tmp_path, "tail", "input", "features") == features
    assert names(model, tmp_path, "tail", "output", "features") == ["z"]


@pytest.mark.parametrize(
    "nodes",
    [
        "p0 = Conv(x, p) p1 = Conv<strides=[2,2]>(p0, q) c = Conv(p0, v) d = Conv(p1, v) "
        "f0 = Flatten<axis=1>(c) f1 = Flatten<axis=1>(d)" + JOIN.format("f0, f1"),
        "r = Reshape(x, rows) a = MatMul(r, m) c = MatMul(a, m) d = MatMul(a, m)"
        + JOIN.format("c, d"),
    ],
    ids=["one head for each scale", "no maps"],
)
def test_heads_that_share_no_maps_are_refused(nodes: str, tmp_path: Path) -> None:
    weights: Weights = {**TOWERS, "rows": np.array([1, 24, 8]), "m": (8, 8)}
    with pytest.raises(CutError) as refused:
        names(parsed(nodes, weights, outputs="float[N] z"), tmp_path, "front", "output", "features")
    assert str(refused.value).startswith(
        "partition.type: the heads of the model are no towers of convolutions that share a map at "
        "each scale; so its structure does not say where they begin; choose behind the heads: "
        "`partition: {save_file: network.onnx, from: ['x'], to: ['c', 'd']}` ('c' is float32 "
    )


REFUSED: dict[str, tuple[str, Weights, str]] = {
    "no weights": (
        "y = Sigmoid(x)",
        {},
        "partition.type: the model has no operator with weights, so that nothing says where a "
        "network ends; write segments, or 'save_file', 'from' and 'to'",
    ),
    "nothing behind them": (
        f"{CONV} y = Relu(c)",
        W,
        "partition.type: the last operators with weights give the outputs of the model themselves; "
        "they are 'y'; there is no post-processing to cut off: use the model as it is",
    ),
    "two stages": (
        f"{CONV} g = Reshape(c, boxes) s = Reshape(c, row) n = NonMaxSuppression(g, s) "
        "f = Cast<to=1>(n) h = MatMul(f, v) y = Softmax(h)",
        {**W, "boxes": np.array([1, 64, 4]), "row": np.array([1, 1, 256]), "v": (3, 5)},
        "partition.type: a NonMaxSuppression node suppresses boxes in front of operators with "
        "weights; so the model has more than one stage, and its structure does not say which ends "
        "it; choose in front of the suppression: `partition: {save_file: network.onnx, from: "
        "['x'], to: ['c']}` ('c' is float32 [1, 4, 8, 8] from Conv, read by Reshape), or behind "
        "the last operators with weights: `partition: {save_file: network.onnx, from: ['x'], to: "
        "['h']}` ('h' is float32 ['unk__0', 5] from MatMul, read by Softmax)",
    ),
    "an unknown operator with constants": (
        f"{CONV} s = Sigmoid(c) m = other.Magic(s, table) y = Exp(m)",
        {**W, "table": (4, 4)},
        "partition.type: a Magic node has constants behind the last operators with weights that "
        "are known; it is not known whether they are weights; choose if they are not: `partition: "
        "{save_file: network.onnx, from: ['x'], to: ['c']}` ('c' is float32 [1, 4, 8, 8] from "
        "Conv, read by Sigmoid), or if they are: `partition: {save_file: network.onnx, from: "
        "['x'], to: ['m']}` ('m' is undefined of unknown rank from Magic, read by Exp)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_structure_does_not_decide_is_refused_with_what_could_be_cut(
    case: str, tmp_path: Path
) -> None:
    nodes, weights, message = REFUSED[case]
    with pytest.raises(CutError) as refused:
        names(parsed(nodes, weights), tmp_path, "front", "output", "joined_heads")
    assert str(refused.value) == message


@pytest.mark.parametrize("plugin", ["EfficientNMS_TRT", "BatchedNMS_TRT"])
def test_a_suppression_that_no_runtime_here_has_is_post_processing(
    plugin: str, tmp_path: Path
) -> None:
    model = parsed(f"{CONV} s = Sigmoid(c) y = {plugin}(s, c, anchors)", {**W, "anchors": (64, 4)})
    assert names(model, tmp_path, "front", "output", "raw_heads") == ["c"]


def test_of_a_traced_model_the_candidates_have_modules_and_no_line(tmp_path: Path) -> None:
    nodes, weights, _ = REFUSED["two stages"]
    model = parsed(nodes, weights)
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv")
    conv.metadata_props.add(key="module", value="rpn_head.rpn_conv")
    with pytest.raises(CutError) as refused:
        structural_marks(read_model(written(model, tmp_path)), "raw_heads", is_file=False)
    assert str(refused.value).endswith(
        "; mark the module or function in front of the suppression: 'c' is float32 [1, 4, 8, 8] "
        "from Conv of module 'rpn_head.rpn_conv', read by Reshape, or behind the last operators "
        "with weights: 'h' is float32 ['unk__0', 5] from MatMul, read by Softmax"
    )
