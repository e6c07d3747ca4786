"""Pastes masks of detections into a panoptic map, as mmdet's `HeuristicFusionHead` does.

Source: Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019; mmdet 3.3,
`heuristic_fusion_head.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxscript
import torch
from onnxscript import BOOL, FLOAT

from partition_core.trace.opset import op18

if TYPE_CHECKING:
    _Floats = Any
    _Booleans = Any
else:
    _Floats, _Booleans = FLOAT[...], BOOL[...]


@torch.library.custom_op("partition::accepted_masks", mutates_args=())
def accepted_masks(masks: torch.Tensor, overlap: float) -> torch.Tensor:
    """Return which of `masks` are pasted into the map, bool (N,).

    masks: (N, H, W) bool, best first. Each in turn is accepted if it is not empty and at most the
    share `overlap` of it lies on those accepted before.
    """
    covered = torch.zeros(masks.shape[1:], dtype=torch.bool)
    accepted = torch.zeros(len(masks), dtype=torch.bool)
    for index, mask in enumerate(masks):
        area = mask.sum()
        share = (mask & covered).sum() / (area + 1e-5)
        if area > 0 and share <= overlap:
            accepted[index] = True
            covered |= mask
    return accepted


@accepted_masks.register_fake
def _fake_accepted_masks(masks: torch.Tensor, overlap: float) -> torch.Tensor:
    return masks.new_empty(masks.shape[:1], dtype=torch.bool)


@onnxscript.script(default_opset=op18)
def _accepted(masks: _Booleans, overlap: _Floats) -> _Booleans:
    """Return which of the masks (N, H, W) are pasted into the map, bool (N,)."""
    shape = op18.Shape(masks)
    count = op18.Gather(shape, op18.Constant(value_int=0))
    covered = op18.Expand(
        op18.Cast(op18.Constant(value_ints=[0]), to=9), op18.Slice(shape, [1], [3])
    )
    places = op18.Range(0, count, 1)
    accepted = op18.Less(places, 0)
    turn = op18.Constant(value_int=0)
    going = count > 0
    while going:
        mask = op18.Gather(masks, turn, axis=0)
        area = op18.ReduceSum(op18.Cast(mask, to=7), keepdims=0)
        on = op18.ReduceSum(op18.Cast(op18.And(mask, covered), to=7), keepdims=0)
        share = op18.Cast(on, to=1) / (op18.Cast(area, to=1) + 1e-5)
        taken = op18.And(area > 0, op18.Not(share > overlap))
        accepted = op18.Or(accepted, op18.And(op18.Equal(places, turn), taken))
        covered = op18.Or(covered, op18.And(mask, taken))
        turn = turn + 1
        going = turn < count
    return accepted


def onnx_accepted_masks(masks: Any, overlap: float) -> Any:
    """Translate `accepted_masks` to standard operators."""
    return _accepted(masks, op18.Constant(value_float=overlap))


def fused(self: Any, mask_results: Any, seg_preds: torch.Tensor, **_options: Any) -> Any:
    """Do what mmdet's `HeuristicFusionHead._predict_single` does: return a map (1, H, W) int32.

    `mask_results` has `scores`, `labels` (N,) and `masks` (N, H, W) bool; seg_preds: (C, H, W).
    """
    from mmdet.evaluation.functional import INSTANCE_OFFSET
    from mmengine.structures import PixelData

    order = torch.argsort(-mask_results.scores)
    masks, labels = mask_results.masks[order], mask_results.labels[order]
    accepted = accepted_masks(masks, float(self.test_cfg.mask_overlap))
    pasted = (masks & accepted[:, None, None]).to(seg_preds.dtype)
    # A last mask covers the pixels without any, even if there is no detection.
    first = torch.cat([pasted, torch.ones_like(seg_preds[:1])]).argmax(dim=0)
    mine = first == torch.arange(masks.shape[0], device=masks.device)[:, None, None]
    number = mine.flatten(1).any(dim=1).long().cumsum(0)
    value = labels + number * INSTANCE_OFFSET
    things = (mine.long() * value[:, None, None]).sum(dim=0)
    stuff = seg_preds.argmax(dim=0)
    kinds = torch.arange(seg_preds.shape[0], device=masks.device)[:, None, None]
    visible = (stuff == kinds) & (things == 0)
    small = visible.sum((1, 2)) < self.test_cfg.stuff_area_limit
    hidden = (visible & small[:, None, None]).any(dim=0)
    below = torch.where(hidden, self.num_classes, stuff + self.num_things_classes)
    segmentation = torch.where(things > 0, things, below)
    return PixelData(sem_seg=segmentation[None].to(torch.int32))
