"""Small ONNX graphs, written as text, whose constants are drawn by their names."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray

Weights = dict[str, tuple[int, ...] | NDArray[np.generic] | np.generic]

MATRIX = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
"""Changes boxes with a center into boxes with corners."""
BINS = np.arange(16, dtype=np.float32)
"""The bins that a DFL sums."""


def parsed(
    nodes: str,
    weights: Weights,
    inputs: str = "float[1,3,8,8] x",
    outputs: str = "float[N] y",
    functions: str = "",
    opset: int = 20,
) -> onnx.ModelProto:
    """Return the model of the text `nodes`; `weights` are arrays, or shapes that are drawn."""
    domains = f'"" : {opset}, "com.microsoft" : 1, "other" : 1'
    head = f"<ir_version: 9, opset_import: [{domains}]>"
    model = onnx.parser.parse_model(
        f"{head}\ng ({inputs}) => ({outputs}) {{ {nodes} }} {functions}"
    )
    for name, value in weights.items():
        seed = zlib.crc32(name.encode())
        drawn = (
            value
            if isinstance(value, np.ndarray | np.generic)
            else np.random.default_rng(seed).normal(size=value).astype(np.float32)
        )
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(drawn), name))
    return model


def written(model: onnx.ModelProto, folder: Path) -> Path:
    """Write `model` into `folder` and return its file."""
    file = folder / "model.onnx"
    onnx.save(model, file)
    return file
