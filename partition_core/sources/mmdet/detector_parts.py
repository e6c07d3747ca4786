"""The parts of a built detector, by which policies fit."""

from __future__ import annotations

from typing import Any

from torch import nn

from partition_core.recipe.policy_fits import Parts


def parts_of(detector: nn.Module) -> Parts:
    """Return the parts of an mmdet detector."""
    from mmdet.models.detectors import DetectionTransformer

    roi_head = getattr(detector, "roi_head", None)
    return Parts(
        regions=roi_head is not None,
        box_heads=_count(getattr(roi_head, "bbox_head", None)),
        mask_heads=_count(getattr(roi_head, "mask_head", None)),
        dense_head=getattr(detector, "bbox_head", None) is not None,
        suppresses=not isinstance(detector, DetectionTransformer),
        features=hasattr(detector, "extract_feat"),
    )


def _count(head: Any) -> int:
    return len(head) if isinstance(head, nn.ModuleList) else int(head is not None)
