"""Corner pooling, written in torch operators that torch.onnx knows.

Source: Law and Deng, "CornerNet", ECCV 2018.
"""

from __future__ import annotations

from typing import Any

import torch


def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the running maximum of `x` (N, C, H, W) along an axis, as mmcv's CornerPool does.

    The maximum of 2, 4, 8 … neighbours in turn: the number of steps is logarithmic.
    """
    axis, flip = self.cummax_dim_flip[self.mode]
    size, reach = x.shape[axis], 1
    while reach < size:
        behind, ahead = x.narrow(axis, 0, size - reach), x.narrow(axis, reach, size - reach)
        both = torch.maximum(behind, ahead)
        rest = x.narrow(axis, size - reach if flip else 0, reach)
        x = torch.cat([both, rest] if flip else [rest, both], dim=axis)
        reach *= 2
    return x
