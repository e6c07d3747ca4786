"""ONNX's operators for onnxscript, and constants for them."""

from __future__ import annotations

from typing import Any

from onnxscript import opset18, opset20

# Their stubs type constants as the union of all types, which no operator accepts.
op: Any = opset20
op18: Any = opset18
"""The opset in which torch.onnx builds its models, which it converts at the end."""


def ints(*values: int) -> Any:
    """Return a constant of int64, (N,)."""
    return op.Constant(value_ints=list(values))


def floats(*values: float) -> Any:
    """Return a constant of float32, (N,)."""
    return op.Constant(value_floats=list(values))
