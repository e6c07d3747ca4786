"""The parts of a detector that was built, for the choice of a policy."""

from __future__ import annotations

from typing import Any

from torch import nn

from partition_core.recipe.policy_fits import Parts


def parts_of(detector: nn.Module) -> Parts:
    """Return what a detector of mmdet is made of."""
    from mmdet.models.detectors import DetectionTransformer

    regions = getattr(detector, "roi_head", None)
    return Parts(
        regions=regions is not None,
        box_heads=_count(getattr(regions, "bbox_head", None)),
        mask_heads=_count(getattr(regions, "mask_head", None)),
        dense_head=getattr(detector, "bbox_head", None) is not None,
        suppresses=not isinstance(detector, DetectionTransformer),
        features=hasattr(detector, "extract_feat"),
    )


def _count(head: Any) -> int:
    return len(head) if isinstance(head, nn.ModuleList) else int(head is not None)
