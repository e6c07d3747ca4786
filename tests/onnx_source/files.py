"""Small ONNX files made without torch, and recipes that cut them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.checker
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str]


def weight(name: str, *shape: int, seed: int = 0) -> TensorProto:
    """Return a weight whose values its name decides."""
    key = [seed, *name.encode()]
    values = np.random.default_rng(key).normal(0, 0.4, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def detector(dims: Dims = (1, 3, 16, 16), seed: int = 0) -> onnx.ModelProto:
    """Return a net of convolutions: `image` to `scores` and `boxes`, over `conv_1`, `conv_2`.

    Its nodes are `/stem/Conv`, `/neck/Relu`, `/split`, …; `/split` has two outputs.
    """
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["conv_1"], "/stem/Conv", pads=[1] * 4),
        helper.make_node("Relu", ["conv_1"], ["relu_1"], "/stem/Relu"),
        helper.make_node("Conv", ["relu_1", "w2"], ["conv_2"], "/neck/Conv", strides=[2, 2]),
        helper.make_node("Relu", ["conv_2"], ["/neck/out"], "/neck/Relu"),
        helper.make_node("Conv", ["/neck/out", "w3"], ["head"], "/head/Conv"),
        helper.make_node("Split", ["head"], ["left", "right"], "/split", axis=1, num_outputs=2),
        helper.make_node("Sigmoid", ["left"], ["scores"], "/scores"),
        helper.make_node("GlobalAveragePool", ["relu_1"], ["pooled"], "/pool"),
        helper.make_node("Mul", ["right", "pooled"], ["boxes"], "/boxes"),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, list(dims))],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * 4)
            for n in ("scores", "boxes")
        ],
        [
            weight("w1", 4, 3, 3, 3, seed=seed),
            weight("w2", 8, 4, 1, 1, seed=seed),
            weight("w3", 8, 8, 1, 1, seed=seed),
        ],
    )
    return model(graph)


def model(graph: onnx.GraphProto, opset: int = 20, ir_version: int = 10) -> onnx.ModelProto:
    """Return a valid model of a graph."""
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )
    onnx.checker.check_model(made, full_check=True)
    return made


IN_A_BODY = """
agraph (float[4] x, bool s) => (float[4] y) {
  e = Sin (x)
  z = If (s) <
    then_branch = g1 () => (float[4] t) { n = RandomNormalLike (e)  t = Add (e, n) },
    else_branch = g2 () => (float[4] u) { u = Abs (e) }
  >
  h = Cos (z)
  y = Exp (h)
}
"""


IN_A_FUNCTION = """
agraph (float[4] x) => (float[4] y) {
  e = Sin (x)
  z = own.noisy (e)
  y = Exp (z)
}
<domain: "own", opset_import: ["": 20]>
noisy (i) => (o) { n = RandomUniformLike (i)  o = Add (i, n) }
"""
