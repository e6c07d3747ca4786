"""Operators of mmcv that are composed of torch operators that torch.onnx knows."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


def carafe(
    features: torch.Tensor,
    masks: torch.Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> torch.Tensor:
    """Return (N, C, H * s, W * s): each output cell is a weighted sum around its source cell.

    Source: Wang et al., "CARAFE: Content-Aware ReAssembly of FEatures", ICCV 2019; mmcv's
    `CARAFEFunction` and `CARAFENaiveFunction`.

    features: (N, C, H, W) float; masks: (N, group_size * k * k, H * s, W * s), the weights of
    the k x k cells around, with k = `kernel_size` and s = `scale_factor`. The channels are split
    into `group_size` groups, each with its own weights. Outside of `features` everything is 0.
    """
    count, channels, height, width = features.shape
    border = kernel_size // 2
    padded = functional.pad(features, [border] * 4)
    neighbours = torch.stack(
        [
            padded[:, :, row : row + height, column : column + width]
            for row in range(kernel_size)
            for column in range(kernel_size)
        ],
        dim=2,
    )
    depth, points = channels // group_size, kernel_size * kernel_size
    # (N, G, H, W, D, k * k) by (N, G, H, W, k * k, s * s): one product for each cell.
    cells = neighbours.reshape(count, group_size, depth, points, height, width)
    shares = masks.reshape(count, group_size, points, height, scale_factor, width, scale_factor)
    sums = cells.permute(0, 1, 4, 5, 2, 3) @ shares.permute(0, 1, 3, 5, 2, 4, 6).flatten(5)
    grid = sums.reshape(
        count, group_size, height, width, depth, scale_factor, scale_factor
    ).permute(0, 1, 4, 2, 5, 3, 6)
    return grid.reshape(count, channels, height * scale_factor, width * scale_factor)


def corner_pool(self: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the running maximum of `x` (N, C, H, W) along an axis, as mmcv's CornerPool does.

    Source: Law and Deng, "CornerNet", ECCV 2018. The maximum of 2, 4, 8 … neighbours in turn: the
    number of steps is logarithmic.
    """
    axis, flip = self.cummax_dim_flip[self.mode]
    size, reach = x.shape[axis], 1
    while reach < size:
        behind, ahead = x.narrow(axis, 0, size - reach), x.narrow(axis, reach, size - reach)
        both = torch.maximum(behind, ahead)
        rest = x.narrow(axis, size - reach if flip else 0, reach)
        x = torch.cat([both, rest] if flip else [rest, both], dim=axis)
        reach *= 2
    return x


def masked_conv(
    features: torch.Tensor,
    mask: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    padding: int | tuple[int, int] = 0,
    stride: int = 1,
) -> torch.Tensor:
    """Return (1, O, h, w): the convolution where `mask` (1, h, w) is above 0, and 0 elsewhere.

    Source: Wang et al., "Region Proposal by Guided Anchoring", CVPR 2019; mmcv 2.1,
    `mmcv/ops/masked_conv.py`. features: (1, C, H, W) float. Does what mmcv's
    `MaskedConv2dFunction.forward` does, but convolves everywhere, which is faster than gathering
    the masked cells.
    """
    full = functional.conv2d(features, weight, bias, stride, padding)
    return torch.where(mask[:, None] > 0, full, torch.zeros_like(full))
