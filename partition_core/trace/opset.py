"""ONNX's operators for onnxscript, constants for them, and GroupNorm of both."""

from __future__ import annotations

import math
from typing import Any

from onnxscript import opset18, opset20

# Their stubs type constants as the union of all types, which no operator accepts.
op: Any = opset20
op18: Any = opset18
"""The opset in which torch.onnx builds its models, which it converts at the end."""
TORCH_OPSET, OWN_OPSET = 18, 20
"""The versions of `op18`, the oldest that torch.onnx gives, and of `op`, which we write in."""


def ints(*values: int) -> Any:
    """Return a constant of int64, (N,)."""
    return op.Constant(value_ints=list(values))


def floats(*values: float) -> Any:
    """Return a constant of float32, (N,)."""
    return op.Constant(value_floats=list(values))


def onnx_group_norm(
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:
    """Return what `torch.nn.functional.group_norm` does, by standard operators.

    input: (N, C, …), weight and bias: (C,). torch.onnx lets Reshape infer the size of a group,
    which it cannot where N is 0.
    """
    sizes = input.shape[1:]
    known = all(isinstance(size, int) for size in sizes)
    size = math.prod(sizes) // num_groups if known else -1  # Reshape infers it
    grouped = op.Reshape(input, ints(0, num_groups, size))
    ones, zeros = (
        op.CastLike(op.Constant(value_floats=[value] * num_groups), input) for value in (1.0, 0.0)
    )
    normed = op.InstanceNormalization(grouped, ones, zeros, epsilon=eps)
    result = op.Reshape(normed, op.Shape(input), allowzero=1)
    axes = op.Constant(value_ints=list(range(1, len(input.shape) - 1)))
    if weight is not None:
        result = op.Mul(result, op.CastLike(op.Unsqueeze(weight, axes), input))
    if bias is not None:
        result = op.Add(result, op.CastLike(op.Unsqueeze(bias, axes), input))
    return result
