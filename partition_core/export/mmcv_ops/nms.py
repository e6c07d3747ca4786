"""Non-maximum suppression as a torch custom op, and as ONNX's NonMaxSuppression."""

from __future__ import annotations

from typing import Any

import torch
from onnxscript import opset20

# Its stubs give constants the union of all types, which no operator accepts.
op: Any = opset20
_EVERY_BOX = torch.iinfo(torch.int64).max


@torch.library.custom_op("partition::nms", mutates_args=())
def nms(
    boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int
) -> torch.Tensor:
    """Return the int64 indices (K,) of the boxes that non-maximum suppression keeps, best first.

    boxes: (N, 4) float, x1 y1 x2 y2 in pixels, of width x2 - x1 + offset; scores: (N,) float.
    A box goes if its IoU with a kept box of a higher score is above `iou_threshold`; of equal
    scores the first comes first. Source: mmcv 2.1, `mmcv/ops/csrc/pytorch/cpu/nms.cpp`.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    corner = ranked[:, 2:] + offset
    areas = (corner - ranked[:, :2]).prod(dim=1)
    alive = torch.ones(len(order), dtype=torch.bool)
    kept = []
    for index in range(len(order)):
        if not alive[index]:
            continue
        kept.append(index)
        rest = slice(index + 1, None)
        low = torch.maximum(ranked[index, :2], ranked[rest, :2])
        high = torch.minimum(corner[index], corner[rest])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        iou = overlap / (areas[index] + areas[rest] - overlap)
        alive[rest] &= ~(iou > iou_threshold)
    return order[torch.tensor(kept, dtype=torch.int64)]


@nms.register_fake
def _fake_nms(
    boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int
) -> torch.Tensor:
    kept = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((kept,), dtype=torch.int64)


def onnx_nms(boxes: Any, scores: Any, iou_threshold: float, offset: int) -> Any:
    """Return the indices that `nms` gives, by standard operators."""
    if offset:
        boxes = op.Add(boxes, op.Constant(value_floats=[0.0, 0.0, float(offset), float(offset)]))
    selected = op.NonMaxSuppression(
        op.Unsqueeze(boxes, op.Constant(value_ints=[0])),
        op.Unsqueeze(scores, op.Constant(value_ints=[0, 1])),
        op.Constant(value_ints=[_EVERY_BOX]),
        op.Constant(value_floats=[iou_threshold]),
    )
    return op.Gather(selected, op.Constant(value_int=2), axis=1)
