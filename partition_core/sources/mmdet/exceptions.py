"""What single classes of mmdet need besides the general rules: a table with a row each."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.nn import functional

from partition_core.sources.mmdet import panoptic as panoptic_masks
from partition_core.sources.mmdet.crowds import crowd_predict
from partition_core.trace.replaced import Replacement, all_replaced


def complete_mmdet() -> None:
    """Add attributes that `predict` needs to mmdet's classes, for this process."""
    for row in EXCEPTIONS:
        if row.in_pytorch and not hasattr(row.target(), row.attribute):
            setattr(row.target(), row.attribute, row.value)


def exceptions_while_traced() -> AbstractContextManager[None]:
    """Patch traceable versions into mmdet while a graph is traced."""
    return all_replaced(row for row in EXCEPTIONS if not row.in_pytorch)


def score_voting(
    self: Any,
    det_bboxes: torch.Tensor,
    det_labels: torch.Tensor,
    mlvl_bboxes: torch.Tensor,
    mlvl_nms_scores: torch.Tensor,
    score_thr: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what mmdet's `PAAHead.score_voting` does: boxes (K, 5) class by class, labels (K,)."""
    from mmdet.structures.bbox import bbox_overlaps

    index, label = (mlvl_nms_scores > score_thr).nonzero().unbind(1)
    boxes, scores = mlvl_bboxes[index], mlvl_nms_scores[index, label]
    count = det_labels.shape[0]
    # Keys without ties: ONNX has no stable sort.
    order = (det_labels * count + torch.arange(count, device=det_labels.device)).argsort()
    dets, labels = det_bboxes[order], det_labels[order]
    ious = bbox_overlaps(dets[:, :4], boxes)
    votes = torch.exp(-((1 - ious) ** 2) / 0.025) * scores
    votes = torch.where((ious > 0.01) & (labels[:, None] == label), votes, 0.0)
    voted = votes @ boxes / votes.sum(dim=1, keepdim=True)
    return torch.cat([voted, dets[:, 4:]], dim=1), labels


def mask2bbox(masks: torch.Tensor) -> torch.Tensor:
    """Do what mmdet's `mask2bbox` does: the boxes (N, 4) of masks (N, H, W), zeros if empty."""
    sides = []
    for axis in (1, 2):
        covered = masks.any(dim=axis)
        pixels = torch.arange(covered.shape[1], device=masks.device)
        low = torch.where(covered, pixels, covered.shape[1]).amin(dim=1)
        high = torch.where(covered, pixels + 1, 0).amax(dim=1)
        sides.append((torch.where(high > 0, low, 0), high))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1).to(torch.float32)


def panoptic_postprocess(self: Any, mask_cls: torch.Tensor, mask_pred: torch.Tensor) -> Any:
    """Do what mmdet's `MaskFormerFusionHead.panoptic_postprocess` does.

    mask_cls: (Q, classes + 1), mask_pred: (Q, H, W), logits. The map is (1, H, W) int32.
    """
    from mmdet.evaluation.functional import INSTANCE_OFFSET
    from mmengine.structures import PixelData

    scores, labels = functional.softmax(mask_cls, dim=-1).max(-1)
    least = self.test_cfg.get("object_mask_thr", 0.8)
    keep = labels.ne(self.num_classes) & (scores > least)
    logits, classes = mask_pred[keep], labels[keep]
    masks = logits.sigmoid()
    # The logarithm of score times mask: onnxruntime's sigmoid is 0 for a logit below -18, so that
    # the first query would win wherever all masks are almost certainly empty.
    weighted = scores[keep].log()[:, None, None] - functional.softplus(-logits)
    # A last mask, below all others, covers the pixels without any, even if no query is kept.
    nowhere = torch.full_like(mask_pred[:1], torch.finfo(mask_pred.dtype).min)
    winner = torch.cat([weighted, nowhere]).argmax(dim=0)
    inside = masks >= 0.5
    mine = winner == torch.arange(masks.shape[0], device=masks.device)[:, None, None]
    area, whole = mine.sum((1, 2)), inside.sum((1, 2))
    shown = mine & inside if self.test_cfg.get("filter_low_score", False) else mine
    share = area.double() / whole.double()
    drawn = (area > 0) & (whole > 0) & (share >= self.test_cfg.get("iou_thr", 0.8))
    thing = drawn & (classes < self.num_things_classes)
    number = torch.where(thing, thing.long().cumsum(0), 0)
    value = classes + number * INSTANCE_OFFSET - self.num_classes
    visible = (shown & drawn[:, None, None]).long()
    segmentation = (visible * value[:, None, None]).sum(dim=0) + self.num_classes
    return PixelData(sem_seg=segmentation.to(torch.int32)[None])


def fuse_global_context(
    self: Any, roi_feats: torch.Tensor, glbctx_feat: torch.Tensor, rois: torch.Tensor
) -> torch.Tensor:
    """Do what mmdet's `SCNetRoIHead._fuse_glbctx` does: roi_feats (N, C, h, w) plus a context.

    glbctx_feat: (B, C, 1, 1), one for each picture; rois: (N, 5), the picture's index first.
    """
    return roi_feats + glbctx_feat[rois[:, 0].long()]


def guided_predict(
    self: Any,
    cls_scores: list[torch.Tensor],
    bbox_preds: list[torch.Tensor],
    mlvl_anchors: list[torch.Tensor],
    mlvl_masks: list[torch.Tensor],
    img_meta: dict[str, Any],
    cfg: Any,
    rescale: bool = False,
) -> Any:
    """Do what mmdet's `GuidedAnchorHead._predict_by_feat_single` does.

    For each level: scores (classes, H, W), deltas (4, H, W), a mask (H W,) and the anchors (N, 4)
    where it is true. No detection if no mask is true anywhere, which in mmdet is an error.
    """
    from mmdet.models.layers import multiclass_nms
    from mmengine.structures import InstanceData

    cfg = self.test_cfg if cfg is None else cfg
    levels = []
    for cls_score, bbox_pred, anchors, mask in zip(
        cls_scores, bbox_preds, mlvl_anchors, mlvl_masks, strict=True
    ):
        scores = cls_score.permute(1, 2, 0).reshape(-1, self.cls_out_channels)
        scores = (scores.sigmoid() if self.use_sigmoid_cls else scores.softmax(-1))[mask]
        level = (anchors, bbox_pred.permute(1, 2, 0).reshape(-1, 4)[mask], scores)
        limit = cfg.get("nms_pre", -1)
        if 0 < limit < mask.numel():
            kinds = scores if self.use_sigmoid_cls else scores[:, :-1]
            best = _best_or_all(kinds.max(dim=1).values, limit)
            level = tuple(tensor[best] for tensor in level)  # type: ignore[assignment]
        levels.append(level)
    anchors, deltas, scores = (torch.cat(parts) for parts in zip(*levels, strict=True))
    boxes = self.bbox_coder.decode(anchors, deltas, max_shape=img_meta["img_shape"])
    if rescale:
        boxes = boxes / boxes.new_tensor(img_meta["scale_factor"]).repeat((1, 2))
    if self.use_sigmoid_cls:
        scores = functional.pad(scores, (0, 1))
    dets, labels = multiclass_nms(boxes, scores, cfg.score_thr, cfg.nms, cfg.max_per_img)
    return InstanceData(bboxes=dets[:, :-1], scores=dets[:, -1], labels=labels)


def _best_or_all(scores: torch.Tensor, limit: int) -> torch.Tensor:
    """Return the indices of the `limit` largest, in order, or of all, unsorted, if fewer."""
    count = scores.shape[0]
    most = torch.sym_min(limit, count)  # type: ignore[no-untyped-call]  # reason: torch's own function without annotations
    indices = scores.topk(most).indices
    unsorted = torch.arange(indices.shape[0], device=scores.device)
    more = torch.scalar_tensor(count, dtype=torch.int64, device=scores.device) > limit
    return torch.where(more, indices, unsorted)


_HEADS = "mmdet.models.dense_heads"
_ROI = "mmdet.models.roi_heads"
_FUSIONS = "mmdet.models.seg_heads.panoptic_fusion_heads"
_FUSION = f"{_FUSIONS}.maskformer_fusion_head"

EXCEPTIONS = (
    # mmdet 3.3 reads `loss_cls` when it predicts, and this head never sets it.
    Replacement(f"{_HEADS}.ssd_head.SSDHead", "loss_cls", None, in_pytorch=True),
    # A Python loop over classes and detections.
    Replacement(f"{_HEADS}.paa_head.PAAHead", "score_voting", score_voting),
    # A Python loop over masks.
    Replacement(_FUSION, "mask2bbox", mask2bbox),
    # A Python loop over queries, which reads their areas and classes as Python numbers.
    Replacement(f"{_FUSION}.MaskFormerFusionHead", "panoptic_postprocess", panoptic_postprocess),
    # A Python loop over detections, which pastes their masks into a map.
    Replacement(
        f"{_FUSIONS}.heuristic_fusion_head.HeuristicFusionHead",
        "_predict_single",
        panoptic_masks.fused,
    ),
    # A top-k over a data-dependent number of anchors, even if there are fewer than k.
    Replacement(
        f"{_HEADS}.guided_anchor_head.GuidedAnchorHead", "_predict_by_feat_single", guided_predict
    ),
    # A Python loop over boxes, and numpy on their number.
    Replacement(
        f"{_ROI}.bbox_heads.multi_instance_bbox_head.MultiInstanceBBoxHead",
        "_predict_by_feat_single",
        crowd_predict,
    ),
    # A Python loop over the pictures with a box, which reads their indices.
    Replacement(f"{_ROI}.scnet_roi_head.SCNetRoIHead", "_fuse_glbctx", fuse_global_context),
)
"""Every exception, below its reason."""
