"""The custom ops joined: what each becomes in ONNX, and where in mmcv it is put."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from partition_core.export.mmcv_ops import roi_align
from partition_core.export.mmcv_ops.nms import nms, onnx_nms

TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.partition.nms.default: onnx_nms,
    torch.ops.partition.roi_align.default: roi_align.onnx_roi_align,
}
"""Each custom op and the onnxscript function of standard ONNX operators that it becomes."""

FUNCTIONS: dict[str, Callable[..., Any]] = {"nms": nms}
"""mmcv's name of a compiled function that returns its result, and the custom op instead of it."""


@dataclass(frozen=True)
class Replacement:
    """A place in mmcv, `module`, `owner` (a class in it, or empty) and `attribute`, and its value.

    `compiled` tells that what is there calls a compiled function, so that PyTorch needs the
    replacement as well where mmcv has none; otherwise only a trace needs it.
    """

    module: str
    owner: str
    attribute: str
    value: Any
    compiled: bool


def _forward(module: str, owner: str, function: Callable[..., Any]) -> Replacement:
    """Return a row for the `forward` of an autograd function, which fills what it returns."""
    return Replacement(f"mmcv.ops.{module}", owner, "forward", staticmethod(function), True)


REPLACEMENTS = (_forward("roi_align", "RoIAlignFunction", roi_align.forward),)
"""What is replaced in mmcv, since its compiled functions write into tensors that they are given.

A trace would record the tensor, its filling and the sizes that Python computed for it as numbers.
"""
