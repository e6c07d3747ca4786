"""Soft non-maximum suppression as a torch custom op, and as a Loop over ONNX's operators.

Source: Bodla et al., "Soft-NMS", ICCV 2017; mmcv 2.1, `mmcv/ops/csrc/pytorch/cpu/nms.cpp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxscript
import torch
from onnxscript import BOOL, FLOAT, INT64

from partition_core.trace.opset import floats, ints, op, op18

if TYPE_CHECKING:
    _Floats = Any
    _Integers = Any
    _Booleans = Any
else:
    _Floats, _Integers, _Booleans = FLOAT[...], INT64[...], BOOL[...]

_NAIVE, _LINEAR, _GAUSSIAN = range(3)


@torch.library.custom_op("partition::soft_nms", mutates_args=())
def soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the boxes selected in turn with their scores, (K, 5), and their indices (K,) int64.

    boxes: (N, 4) float, x1 y1 x2 y2 in pixels, of width x2 - x1 + offset; scores: (N,) float.
    Each selected box lowers the scores of the others by their IoU: to 0 from `iou_threshold` on
    (`method` 0, mmcv's "naive"), by the IoU from there on (1, "linear"), or by exp(-IoU² / sigma)
    (2, "gaussian"). Boxes below `min_score` are removed. Of equal scores the first comes
    first.
    """
    remaining = scores.clone()
    alive = torch.ones(len(scores), dtype=torch.bool)
    corner = boxes[:, 2:] + offset
    areas = (corner - boxes[:, :2]).prod(dim=1)
    selected: list[int] = []
    while bool(alive.any()):
        best = int(torch.where(alive, remaining, -torch.inf).argmax())
        selected.append(best)
        alive[best] = False
        low = torch.maximum(boxes[best, :2], boxes[:, :2])
        high = torch.minimum(corner[best], corner)
        shared = (high - low).clamp(min=0).prod(dim=1)
        iou = shared / (areas[best] + areas - shared)
        weight = _weight(iou, iou_threshold, sigma, method)
        remaining = torch.where(alive, remaining * weight, remaining)
        alive &= ~(remaining < min_score)
    indices = torch.tensor(selected, dtype=torch.int64)
    return torch.cat([boxes[indices], remaining[indices, None]], dim=1), indices


def _weight(iou: torch.Tensor, iou_threshold: float, sigma: float, method: int) -> torch.Tensor:
    if method == _GAUSSIAN:
        return torch.exp(-(iou * iou) / sigma)
    lowered = 1 - iou if method == _LINEAR else torch.zeros_like(iou)
    return torch.where(iou >= iou_threshold, lowered, torch.ones_like(iou))


@soft_nms.register_fake
def _fake_soft_nms(boxes: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((count, 5)), boxes.new_empty((count,), dtype=torch.int64)


@onnxscript.script(default_opset=op18)
def _taken(
    low: _Floats,
    corner: _Floats,
    scores: _Floats,
    iou_threshold: _Floats,
    sigma: _Floats,
    min_score: _Floats,
    gaussian: _Booleans,
    linear: _Floats,
    nothing: _Floats,
) -> tuple[_Integers, _Floats]:
    """Return the turn in which each box is selected (-1: never), int64 (N,), and its score then.

    low, corner: (N, 2) float; scores: (N,) float; the others have one element, `gaussian` a
    boolean, `linear` 1 or 0, and `nothing` less than any score.
    """
    count = op18.Size(scores)
    places = op18.Range(0, count, 1)
    areas = op18.ReduceProd(corner - low, [1], keepdims=0)
    left = op18.Identity(scores)
    turns = op18.Expand(op18.Constant(value_ints=[-1]), op18.Shape(scores))
    alive = op18.Expand(op18.Cast(op18.Constant(value_ints=[1]), to=9), op18.Shape(scores))
    going = count > 0
    turn = op18.Constant(value_ints=[0])
    while going:
        best = op18.ArgMax(op18.Where(alive, left, nothing), axis=0, keepdims=1)
        chosen = op18.Equal(places, best)
        turns = op18.Where(chosen, turn, turns)
        alive = op18.And(alive, op18.Not(chosen))
        inner_low = op18.Max(op18.Gather(low, best), low)
        inner_high = op18.Min(op18.Gather(corner, best), corner)
        shared = op18.ReduceProd(op18.Max(inner_high - inner_low, 0.0), [1], keepdims=0)
        iou = shared / (op18.Gather(areas, best) + areas - shared)
        stepped = op18.Where(iou >= iou_threshold, linear * (1.0 - iou), 1.0)
        weight = op18.Where(gaussian, op18.Exp(op18.Neg(iou * iou) / sigma), stepped)
        left = op18.Where(alive, left * weight, left)
        alive = op18.And(alive, op18.Not(left < min_score))
        turn = turn + 1
        going = op18.ReduceMax(op18.Cast(alive, to=7), keepdims=0) > 0
    return turns, left


def onnx_soft_nms(
    boxes: Any,
    scores: Any,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Any:
    """Translate `soft_nms` to standard operators."""
    low = op.Slice(boxes, ints(0), ints(2), ints(1))
    high = op.Slice(boxes, ints(2), ints(4), ints(1))
    turns, left = _taken(
        low,
        op.Add(high, floats(float(offset))),
        scores,
        floats(iou_threshold),
        floats(sigma),
        floats(min_score),
        op.Cast(ints(int(method == _GAUSSIAN)), to=9),
        floats(float(method == _LINEAR)),
        floats(float("-inf")),
    )
    taken = op.Cast(op.GreaterOrEqual(turns, ints(0)), to=7)
    count = op.ReduceSum(taken, keepdims=1)
    never = op.Shape(scores)
    _turns, kept = op.TopK(op.Where(op.Cast(taken, to=9), turns, never), count, largest=0)
    best = op.Concat(op.Gather(boxes, kept), op.Unsqueeze(op.Gather(left, kept), ints(1)), axis=1)
    return best, kept
