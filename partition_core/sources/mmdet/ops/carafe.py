"""CARAFE's reassembly of features, written in torch operators that torch.onnx knows.

Source: Wang et al., "CARAFE: Content-Aware ReAssembly of FEatures", ICCV 2019.
"""

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


def forward(
    _ctx: Any,
    features: torch.Tensor,
    masks: torch.Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> torch.Tensor:
    """Do what the `forward` of mmcv's `CARAFEFunction` and `CARAFENaiveFunction` does."""
    return carafe(features, masks, kernel_size, group_size, scale_factor)
