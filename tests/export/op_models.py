"""Modules that call one of our stand-ins for mmcv's compiled operators, or mmcv's own code."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class RoiAligned(nn.Module):
    """RoIAlign of 3 x 2 bins."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        from partition_core.export.mmcv_ops.roi_align import roi_align

        self.roi_align = roi_align
        self.settings = settings

    def forward(self, maps: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.roi_align(maps, rois, 3, 2, **self.settings)
        return pooled
