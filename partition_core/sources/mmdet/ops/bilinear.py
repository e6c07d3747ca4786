"""Bilinear sampling of feature maps."""

from __future__ import annotations

import torch


def sampled(maps: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return (B, C, P): `maps` (B, C, H, W) at rows `y` and columns `x` (B, P), in cells.

    Bilinear between the centres of cells, which are at whole numbers; 0 outside of the map.
    """
    height, width = maps.shape[2:]
    flat = maps.flatten(2)
    top, left = y.floor(), x.floor()
    total = torch.zeros((*maps.shape[:2], y.shape[1]), dtype=maps.dtype)
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, along in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            cell = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            cells = cell.to(torch.int64)[:, None].expand(-1, maps.shape[1], -1)
            total += flat.gather(2, cells) * (down * along * inside)[:, None]
    return total
