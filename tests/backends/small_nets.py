"""Small ONNX files to convert, with weights drawn from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

HEAD = '<ir_version: 10, opset_import: ["": 20]>\n'
NEAREST = 'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"'

MAPS = f"""
net (float[1, 3, 16, 24] x)
    => (float[1, 4, 8, 12] a, float[1, 4, 8, 12] b, float[1, 12, 16, 24] c) {{
    a0 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w)
    a = Relu (a0)
    b0 = Conv <pads = [1, 1, 1, 1]> (a, v)
    b = Sigmoid (b0)
    large_b = Resize <{NEAREST}> (b, , scales)
    large_a = Resize <{NEAREST}> (a, , scales)
    same = Conv <pads = [1, 1, 1, 1]> (x, w)
    c = Concat <axis = 1> (large_b, large_a, same)
}}
"""
"""Three outputs, two of equal shape and both read inside; a resize, and a concat of three maps."""

ODD_NAMES = """
net (float[1, 3, 8, 8] "in put/0", float[1, 3, 8, 8] "1")
    => (float[1, 4, 8, 8] "maps.0", float[1, 4, 8, 8] "a/b: c", float[1, 4, 8, 8] in0) {
    in0 = Conv <pads = [1, 1, 1, 1]> ("1", w)
    "mid dle" = Conv <pads = [1, 1, 1, 1]> ("in put/0", w)
    "maps.0" = Tanh ("mid dle")
    "a/b: c" = Sub (in0, "maps.0")
}
"""
"""Inputs are read in another order than they have, and names are what pnnx would call others."""

FREE = """
net (float[n, 3, h, w] x) => (float[n, 4, h, w] y, float[pixels, 4] z) {
    k = Conv <pads = [1, 1, 1, 1]> (x, w3)
    y = Tanh (k)
    last = Transpose <perm = [0, 2, 3, 1]> (k)
    z = Reshape (last, rows)
}
"""
"""What merges the batch into another dim shows whether it was taken for 1."""

TWO = """
net (float[2, 3, 8, 8] x) => (float[2, 4, 8, 8] y, float[2, 256] z) {
    y = Conv <pads = [1, 1, 1, 1]> (x, w)
    k = Sigmoid (y)
    z = Flatten (k)
}
"""


def net(text: str, file: Path, constants: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write the model of a text, whose undefined names `w`, `v` and `scales` are weights."""
    drawn = np.random.default_rng(0).normal
    known = {
        "w": drawn(size=(4, 3, 3, 3)),
        "w3": drawn(size=(4, 3, 3, 3)),
        "v": drawn(size=(4, 4, 3, 3)),
        "scales": np.array([1, 1, 2, 2]),
    }
    rows = {"rows": np.array([-1, 4])}
    model = onnx.parser.parse_model(HEAD + text)
    arrays = {name: array.astype(np.float32) for name, array in known.items()}
    read = {name for node in model.graph.node for name in node.input}
    for name, array in {**arrays, **rows, **(constants or {})}.items():
        if name in read:
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, file)
    return file
