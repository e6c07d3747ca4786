"""Non-maximum suppression as a torch custom op, as ONNX's NonMaxSuppression, and per class."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from partition_core.trace.opset import floats, ints, op

_EVERY_BOX = torch.iinfo(torch.int64).max


@torch.library.custom_op("partition::nms", mutates_args=())
def nms(
    boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int
) -> torch.Tensor:
    """Return the int64 indices (K,) of the boxes that non-maximum suppression keeps, best first.

    boxes: (N, 4) float, x1 y1 x2 y2 in pixels, of width x2 - x1 + offset; scores: (N,) float.
    A box is removed if its IoU with a kept box of a higher score is above `iou_threshold`; boxes
    with equal scores keep their order. Source: mmcv 2.1, `mmcv/ops/csrc/pytorch/cpu/nms.cpp`.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    corner = ranked[:, 2:] + offset
    areas = (corner - ranked[:, :2]).prod(dim=1)
    alive = torch.ones(len(order), dtype=torch.bool)
    indices = []
    for index in range(len(order)):
        if not alive[index]:
            continue
        indices.append(index)
        rest = slice(index + 1, None)
        low = torch.maximum(ranked[index, :2], ranked[rest, :2])
        high = torch.minimum(corner[index], corner[rest])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        iou = overlap / (areas[index] + areas[rest] - overlap)
        alive[rest] &= ~(iou > iou_threshold)
    return order[torch.tensor(indices, dtype=torch.int64)]


@nms.register_fake
def _fake_nms(boxes: torch.Tensor, *_: Any) -> torch.Tensor:
    count = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((count,), dtype=torch.int64)


def onnx_nms(boxes: Any, scores: Any, iou_threshold: float, offset: int) -> Any:
    """Translate `nms` to standard operators."""
    if offset:
        boxes = op.Add(boxes, floats(0.0, 0.0, float(offset), float(offset)))
    selected = op.NonMaxSuppression(
        op.Unsqueeze(boxes, ints(0)),
        op.Unsqueeze(scores, ints(0, 1)),
        ints(_EVERY_BOX),
        floats(iou_threshold),
    )
    return op.Gather(selected, op.Constant(value_int=2), axis=1)


BatchedNms = Callable[..., tuple[torch.Tensor, torch.Tensor]]


@contextlib.contextmanager
def traceable_batched_nms() -> Iterator[None]:
    """Let every caller of mmcv's `batched_nms` call `class_by_class` of it.

    Its code is replaced, not a module's attribute: user code and marks may refer to the function
    under other names.
    """
    function = inspect.unwrap(importlib.import_module("mmcv.ops.nms").batched_nms)
    code, names = function.__code__, function.__globals__
    plain = FunctionType(code, names, function.__name__, function.__defaults__)
    names[_traceable_batched_nms.__name__] = class_by_class(plain)
    function.__code__ = _calls_traceable.__code__
    try:
        yield
    finally:
        function.__code__ = code
        del names[_traceable_batched_nms.__name__]


def _traceable_batched_nms(*args: Any) -> Any:
    """Stand for a name that mmcv's module has inside the `with` block."""
    raise NotImplementedError


def _calls_traceable(
    boxes: Any, scores: Any, idxs: Any, nms_cfg: Any, class_agnostic: bool = False
) -> Any:
    return _traceable_batched_nms(boxes, scores, idxs, nms_cfg, class_agnostic)


def class_by_class(plain: BatchedNms) -> BatchedNms:
    """Return mmcv's `batched_nms`, `plain`, for a data-dependent number of boxes.

    From `split_thr` boxes on mmcv suppresses class by class, even if `class_agnostic`. A graph
    covers both cases by shifting the boxes of each class apart; with fewer boxes that separates
    the classes, as in mmcv, only if no coordinate is negative.
    """

    def batched_nms(
        boxes: torch.Tensor,
        scores: torch.Tensor,
        idxs: torch.Tensor,
        nms_cfg: dict[str, Any] | None,
        class_agnostic: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        config = dict(nms_cfg or {})
        count, limit = boxes.shape[0], config.pop("split_thr", _SPLIT)
        name = config.pop("type", "nms")
        if not isinstance(name, str):
            # mmdet calls none without boxes: for a user's function, the user must say.
            bool(count > 0)
        few = statically_known_true(count < limit)
        if nms_cfg is None or few or not isinstance(name, str) or boxes.shape[-1] != _CORNERS:
            return plain(boxes, scores, idxs, nms_cfg, class_agnostic)
        width = boxes.max() + torch.tensor(1).to(boxes)
        agnostic = config.pop("class_agnostic", class_agnostic)
        split = torch.scalar_tensor(count, dtype=torch.int64) >= limit
        apart = torch.where(
            split,
            width - boxes.min().clamp(max=0),
            torch.zeros_like(width) if agnostic else width,
        )
        moved = boxes + (idxs.to(boxes) * apart)[:, None]
        suppress = getattr(importlib.import_module("mmcv.ops.nms"), name)
        dets, indices = suppress(moved, scores, **config)
        return torch.cat([boxes[indices], dets[:, -1:]], dim=-1), indices

    return batched_nms


_SPLIT = 10000
_CORNERS = 4
