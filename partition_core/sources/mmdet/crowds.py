"""Boxes of a crowd: each region gives several, which do not suppress each other.

Source: Chu et al., "Detection in Crowded Scenes", CVPR 2020; mmdet 3.3,
`multi_instance_bbox_head.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxscript
import torch
from onnxscript import BOOL

from partition_core.trace.opset import op18

if TYPE_CHECKING:
    _Booleans = Any
else:
    _Booleans = BOOL[...]


@torch.library.custom_op("partition::kept_in_turn", mutates_args=())
def kept_in_turn(removes: torch.Tensor) -> torch.Tensor:
    """Return which of N candidates are kept, bool (N,).

    removes: (N, N) bool. Each candidate in turn, if it is still kept, removes those in its row.
    """
    kept = torch.ones(len(removes), dtype=torch.bool)
    for index, row in enumerate(removes):
        kept &= ~(row & kept[index])
    return kept


@kept_in_turn.register_fake
def _fake_kept_in_turn(removes: torch.Tensor) -> torch.Tensor:
    return removes.new_empty(removes.shape[:1])


@onnxscript.script(default_opset=op18)
def onnx_kept_in_turn(removes: _Booleans) -> _Booleans:
    """Translate `kept_in_turn` to standard operators."""
    count = op18.Gather(op18.Shape(removes), op18.Constant(value_int=0))
    kept = op18.GreaterOrEqual(op18.Range(0, count, 1), 0)
    turn = op18.Constant(value_int=0)
    going = count > 0
    while going:
        row = op18.Gather(removes, turn, axis=0)
        kept = op18.And(kept, op18.Not(op18.And(row, op18.Gather(kept, turn, axis=0))))
        turn = turn + 1
        going = turn < count
    return kept


def crowd_predict(
    self: Any,
    roi: torch.Tensor,
    cls_score: torch.Tensor,
    bbox_pred: torch.Tensor,
    img_meta: dict[str, Any],
    rescale: bool = False,
    rcnn_test_cfg: Any = None,
) -> Any:
    """Do what mmdet's `MultiInstanceBBoxHead._predict_by_feat_single` does for a `rcnn_test_cfg`.

    roi: (N, 5), the picture's index first; cls_score: (N, k (classes + 1)), bbox_pred: (N, 4 k) for
    k boxes of each region.
    """
    from mmdet.structures.bbox import bbox_overlaps
    from mmengine.structures import InstanceData

    count = self.num_instance
    scores = cls_score.reshape(-1, self.num_classes + 1).softmax(dim=-1)[:, 1]
    regions = roi[:, 1:].repeat_interleave(count, dim=0)
    boxes = self.bbox_coder.decode(
        regions, bbox_pred.reshape(-1, 4), max_shape=img_meta["img_shape"]
    )
    if rescale:
        boxes = boxes / boxes.new_tensor(img_meta["scale_factor"]).repeat((1, 2))
    region = torch.arange(scores.shape[0], device=roi.device) // count
    likely = scores > rcnn_test_cfg.score_thr
    # mmdet joins boxes with numbers of numpy, which are float64.
    boxes, scores, region = boxes[likely].double(), scores[likely], region[likely]
    order = scores.argsort(descending=True)
    ranked, ranked_region = boxes[order], region[order]
    overlaps = bbox_overlaps(ranked, ranked) > rcnn_test_cfg.nms["iou_threshold"]
    rank = torch.arange(order.shape[0], device=roi.device)
    removes = overlaps & (ranked_region[:, None] != ranked_region) & (rank[:, None] < rank)
    kept = kept_in_turn(removes)[order.argsort()]
    most = rcnn_test_cfg.max_per_img
    boxes, scores = boxes[kept][:most], scores[kept][:most]
    return InstanceData(bboxes=boxes, scores=scores, labels=torch.zeros_like(scores))
