"""Tables of the custom ops: their ONNX translations, and where mmcv is patched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from partition_core.sources.mmdet.ops import (
    composed,
    deform_attention,
    deform_conv,
    deform_roi_pool,
    roi_align,
    soft_nms,
)
from partition_core.sources.mmdet.ops.nms import nms, onnx_nms
from partition_core.trace.replaced import Replacement

TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.partition.nms.default: onnx_nms,
    torch.ops.partition.soft_nms.default: soft_nms.onnx_soft_nms,
    torch.ops.partition.deform_conv.default: deform_conv.onnx_deform_conv,
    torch.ops.partition.deform_attention.default: deform_attention.onnx_deform_attention,
    torch.ops.partition.roi_align.default: roi_align.onnx_roi_align,
}
"""Each custom op and the onnxscript function of standard ONNX operators that it becomes."""

FUNCTIONS: dict[str, Callable[..., Any]] = {"nms": nms}
"""mmcv's name of each compiled function that returns its result, and its custom op."""


def _forward(module: str, owner: str, function: Callable[..., Any]) -> Replacement:
    """Return a row for the `forward` of an autograd function, which writes into its outputs."""
    forward = staticmethod(lambda _context, *arguments: function(*arguments))
    return Replacement(f"mmcv.ops.{module}.{owner}", "forward", forward, in_pytorch=True)


REPLACEMENTS = (
    # Compiled functions write into tensors passed to them: a trace would record the allocation,
    # the write, and constant sizes computed in Python.
    _forward("nms", "SoftNMSop", soft_nms.soft_nms),
    _forward("roi_align", "RoIAlignFunction", roi_align.forward),
    _forward("deform_roi_pool", "DeformRoIPoolFunction", deform_roi_pool.forward),
    _forward("deform_conv", "DeformConv2dFunction", deform_conv.forward),
    _forward(
        "modulated_deform_conv", "ModulatedDeformConv2dFunction", deform_conv.modulated_forward
    ),
    _forward("carafe", "CARAFEFunction", composed.carafe),
    _forward("carafe", "CARAFENaiveFunction", composed.carafe),
    _forward("masked_conv", "MaskedConv2dFunction", composed.masked_conv),
    # Reads the sizes of the levels from a tensor, as Python numbers.
    Replacement(
        "mmcv.ops.multi_scale_deform_attn",
        "multi_scale_deformable_attn_pytorch",
        deform_attention.deform_attention,
    ),
    # torch.cummax has no ONNX equivalent.
    Replacement("mmcv.ops.corner_pool.CornerPool", "forward", composed.corner_pool),
)
"""What is replaced in mmcv, each row below its reason. PyTorch needs a replacement too if the
original calls a compiled function and mmcv has none."""
