"""Modules that call one of our stand-ins for mmcv's compiled operators, or mmcv's own code."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class RoiAligned(nn.Module):
    """RoIAlign of 3 x 2 bins."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        from partition_core.sources.mmdet.ops.roi_align import roi_align

        self.roi_align = roi_align
        self.settings = settings

    def forward(self, maps: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.roi_align(maps, rois, 3, 2, **self.settings)
        return pooled


class Moved(nn.Module):
    """Deformable RoI pooling of 3 x 2 bins, moved by parts of 0.3 of a box."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, maps: torch.Tensor, rois: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        from partition_core.sources.mmdet.ops.deform_roi_pool import forward

        return forward(maps, rois, offset, (3, 2), gamma=0.3, **self.settings)


class Deformed(nn.Module):
    """A deformable convolution of one part of a weight's kernel size, with or without a mask."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        from partition_core.sources.mmdet.ops.deform_conv import deform_conv

        self.deform_conv = deform_conv
        self.settings = settings

    def forward(
        self,
        maps: torch.Tensor,
        offset: torch.Tensor,
        weight: torch.Tensor,
        mask: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        made: torch.Tensor = self.deform_conv(maps, offset, weight, mask, bias, **self.settings)
        return made


class Attending(nn.Module):
    """Multi-scale deformable attention whose levels are an input."""

    def forward(
        self,
        value: torch.Tensor,
        shapes: torch.Tensor,
        locations: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        from partition_core.sources.mmdet.ops.deform_attention import deform_attention

        made: torch.Tensor = deform_attention(value, shapes, locations, weights)
        return made


class Reassembled(nn.Module):
    """CARAFE."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, features: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        from partition_core.sources.mmdet.ops.composed import carafe

        return carafe(features, masks, **self.settings)


class Masked(nn.Module):
    """A convolution at the places of a mask."""

    def forward(
        self,
        features: torch.Tensor,
        mask: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
    ) -> torch.Tensor:
        from partition_core.sources.mmdet.ops.composed import masked_conv

        return masked_conv(features, mask, weight, bias, padding=1)


class Cornered(nn.Module):
    """All four corner poolings, through the function that replaces mmcv's."""

    def forward(self, maps: torch.Tensor) -> dict[str, torch.Tensor]:
        from mmcv.ops import CornerPool

        from partition_core.sources.mmdet.ops.composed import corner_pool

        return {mode: corner_pool(CornerPool(mode), maps) for mode in CornerPool.cummax_dim_flip}


class SoftSuppressed(nn.Module):
    """mmcv's own soft suppression."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        from partition_core.sources.mmdet.ops.soft_nms import soft_nms

        self.soft_nms = soft_nms
        self.settings = settings

    def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> dict[str, torch.Tensor]:
        dets, kept = self.soft_nms(boxes, scores, **self.settings)
        return {"dets": dets, "kept": kept}


class LaidMasks(nn.Module):
    """Which masks are laid into a panoptic map."""

    def __init__(self, overlap: float) -> None:
        super().__init__()
        self.overlap = overlap

    def forward(self, masks: torch.Tensor) -> torch.Tensor:
        return torch.ops.partition.accepted_masks(masks > 0, self.overlap).long()
