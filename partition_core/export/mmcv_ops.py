"""mmcv's compiled operators as torch custom ops: implementation, fake kernel, ONNX translation.

mmcv asks one module, `mmcv._ext`, for all of them. Where it is missing (mmcv-lite) a
stand-in takes its place; during a trace `traceable_ops` also replaces a compiled one.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
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


def _onnx_nms(boxes: Any, scores: Any, iou_threshold: float, offset: int) -> Any:
    if offset:
        boxes = op.Add(boxes, op.Constant(value_floats=[0.0, 0.0, float(offset), float(offset)]))
    selected = op.NonMaxSuppression(
        op.Unsqueeze(boxes, op.Constant(value_ints=[0])),
        op.Unsqueeze(scores, op.Constant(value_ints=[0, 1])),
        op.Constant(value_ints=[_EVERY_BOX]),
        op.Constant(value_floats=[iou_threshold]),
    )
    return op.Gather(selected, op.Constant(value_int=2), axis=1)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.partition.nms.default: _onnx_nms,
}
"""Each custom op and the onnxscript function of standard ONNX operators that it becomes."""

_OPS: dict[str, Callable[..., Any]] = {"nms": nms}
"""mmcv's name of a compiled function and the custom op that does its work."""


def provide_compiled_ops() -> None:
    """Make `import mmcv.ops` work where mmcv has no compiled module, for this process."""
    if "mmcv._ext" in sys.modules or importlib.util.find_spec("mmcv._ext") is not None:
        return
    stand_in = _Ops("mmcv._ext", None)
    stand_in.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
    sys.modules["mmcv._ext"] = stand_in


@contextlib.contextmanager
def traceable_ops() -> Iterator[None]:
    """Let every function of `mmcv.ops` call the custom ops, even beside a compiled mmcv."""
    importlib.import_module("mmcv.ops")
    with contextlib.ExitStack() as undo:
        for name, module in sorted(sys.modules.items()):
            if name.startswith("mmcv.ops.") and hasattr(module, "ext_module"):
                compiled = module.ext_module
                module.ext_module = _Ops(name, compiled)  # type: ignore[attr-defined]  # reason: a name that mmcv's modules share by convention
                undo.callback(setattr, module, "ext_module", compiled)
        yield


class _Ops(types.ModuleType):
    """A module whose functions are the custom ops, or else those of `compiled`."""

    def __init__(self, name: str, compiled: Any) -> None:
        super().__init__(name)
        self._compiled = compiled

    def __getattr__(self, name: str) -> Any:
        if name in _OPS:
            return _OPS[name]
        if name.startswith("__"):
            raise AttributeError(name)
        if self._compiled is not None:
            return getattr(self._compiled, name)
        return _Absent(name)


class _Absent:
    """Stands for a compiled function that nobody has written yet; only a call is an error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError(
            f"mmcv's compiled operator '{self._name}' is not available: "
            "this mmcv has no compiled operators, and partition-core has no stand-in for it"
        )
