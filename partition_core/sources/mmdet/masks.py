"""Masks of two-stage detectors: as the mask head outputs them, or pasted into the picture.

mmdet pastes with numpy and a loop over detections.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmdet.models.roi_heads import PointRendRoIHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.utils.misc import empty_instances
from torch import nn
from torch.nn import functional

from partition_core.trace.replaced import replaced

_ROI_HEADS = "mmdet.models.roi_heads."


def pastes_masks(detector: nn.Module) -> bool:
    """Return whether `detector` has a mask head whose masks are relative to the boxes."""
    return any(isinstance(module, FCNMaskHead) for module in detector.modules())


@contextlib.contextmanager
def traceable_pasting() -> Iterator[None]:
    """Let mask heads paste all masks at once while a graph is traced; otherwise change nothing.

    A mask is (H, W) bool, or uint8 if the threshold is negative, of the size of the picture.
    """
    if torch.compiler.is_exporting():
        with replaced(FCNMaskHead, "_predict_by_feat_single", pasted):
            yield
    else:
        yield


@contextlib.contextmanager
def unpasted_masks(detector: nn.Module) -> Iterator[None]:
    """Let the mask heads of `detector` output probabilities instead of pasted masks.

    A mask is (h, w) float over the detection's box, 28 x 28 in most models.
    """
    with contextlib.ExitStack() as undo:
        if pastes_masks(detector):
            undo.enter_context(replaced(FCNMaskHead, "_predict_by_feat_single", _probabilities))
            for name, module in sorted(sys.modules.items()):
                if name.startswith(_ROI_HEADS) and hasattr(module, "empty_instances"):
                    undo.enter_context(
                        replaced(module, "empty_instances", _empty_instances(detector))
                    )
        yield


def _probabilities(
    self: FCNMaskHead,
    mask_preds: torch.Tensor,
    labels: torch.Tensor,
    activate_map: bool = False,
    **_: Any,
) -> torch.Tensor:
    chosen = mask_preds if activate_map else mask_preds.sigmoid()
    if self.class_agnostic:
        return chosen[:, 0]
    return chosen[torch.arange(chosen.shape[0]), labels]


def pasted(
    self: FCNMaskHead,
    mask_preds: torch.Tensor,
    bboxes: torch.Tensor,
    labels: torch.Tensor,
    img_meta: dict[str, Any],
    rcnn_test_cfg: Any,
    rescale: bool = False,
    activate_map: bool = False,
) -> torch.Tensor:
    """Do what mmdet's `FCNMaskHead._predict_by_feat_single` does, for all detections at once.

    Returns masks (N, H, W) bool, or uint8 if the threshold is negative, of a picture that is not
    rescaled; mask_preds: (N, classes or 1, h, w), bboxes: (N, 4).
    """
    masks = _probabilities(self, mask_preds, labels, activate_map)
    height, width = img_meta["ori_shape"][:2]
    across, on_x = _along(bboxes[:, 0:1], bboxes[:, 2:3], width)
    down, on_y = _along(bboxes[:, 1:2], bboxes[:, 3:4], height)
    shape = (bboxes.shape[0], height, width)
    grid = torch.stack([across[:, None, :].expand(shape), down[:, :, None].expand(shape)], dim=3)
    values = functional.grid_sample(masks[:, None].to(torch.float32), grid, align_corners=False)
    sampled = torch.where(on_y[:, :, None] & on_x[:, None, :], values[:, 0], 0.0)
    threshold: float = rcnn_test_cfg.mask_thr_binary
    if threshold < 0:
        return (sampled * 255).to(torch.uint8)
    return sampled >= threshold


def _along(low: torch.Tensor, high: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pixels' positions in boxes, -1 to 1 inside, (N, size), and which mmdet fills."""
    pixels = torch.arange(size, device=low.device).to(torch.float32)
    relative = (pixels + 0.5 - low) / (high - low) * 2 - 1
    relative = torch.where(relative.abs() == torch.inf, 0.0, relative)
    return relative, (pixels >= low.floor() - 1) & (pixels < high.ceil() + 1)


def _empty_instances(detector: Any) -> Callable[..., Any]:
    """Return mmdet's `empty_instances` with masks of the unpasted size.

    mmdet's own are as large as the picture, since they are pasted.
    """

    def empty(*args: Any, **kwargs: Any) -> Any:
        results = empty_instances(*args, **kwargs)
        if kwargs.get("task_type") == "mask":
            for result in results:
                result.masks = result.bboxes.new_zeros((0, *_mask_size(detector.roi_head)))
        return results

    return empty


def _mask_size(roi_head: Any) -> tuple[int, int]:
    extractor: Any
    head: Any
    extractor, head = (
        part[-1] if isinstance(part, nn.ModuleList) else part
        for part in (roi_head.mask_roi_extractor, roi_head.mask_head)
    )
    if isinstance(roi_head, PointRendRoIHead):
        config = roi_head.test_cfg
        refined: int = config.scale_factor**config.subdivision_steps
        height, width = head.output_size
        return height * refined, width * refined
    scale: int = head.scale_factor if head.upsample is not None else 1
    height, width = extractor.roi_layers[0].output_size
    return height * scale, width * scale
