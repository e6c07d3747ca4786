"""Masked convolution, written in torch operators that torch.onnx knows.

Source: Wang et al., "Region Proposal by Guided Anchoring", CVPR 2019; mmcv 2.1,
`mmcv/ops/masked_conv.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


def forward(
    _ctx: Any,
    features: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    padding: int | tuple[int, int] = 0,
    stride: int = 1,
) -> torch.Tensor:
    """Return (1, O, h, w): the convolution where `mask` (1, h, w) is above 0, and 0 elsewhere.

    features: (1, C, H, W) float. Does what mmcv's `MaskedConv2dFunction.forward` does, but
    convolves everywhere, which is faster than gathering the masked cells.
    """
    full = functional.conv2d(features, weight, bias, stride, padding)
    return torch.where(mask[:, None] > 0, full, torch.zeros_like(full))
