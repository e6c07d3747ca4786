"""Compares the masks of detections that two runs share. Pure."""

from __future__ import annotations

import numpy as np

from partition_core.base.arrays import Array

_AT_AN_EDGE = 100.0
_OF_A_MASK = 0.01
_RECOMPUTED = 0.001


def unequal_masks(left: Array, right: Array, tolerance: float) -> int:
    """Return how many of K masks, (K, h, w) of one dtype, differ between `left` and `right`.

    Values may differ by `tolerance` of the largest in the mean of a mask, and by a hundred times
    that in a single cell: where a mask is steep, a slightly shifted box matters. One cell in a
    thousand may differ more: PointRend recomputes the cells nearest to a threshold, and rounding
    can decide which are nearest.
    Masks of booleans or integers may differ in one cell, or in a hundredth of those set in either:
    a cell whose value lies at the threshold may fall on either side.
    """
    if len(left) == 0:
        return 0
    if left.dtype.kind == "f":
        scale = float(np.abs(left).max()) or 1.0
        apart = np.abs(left.astype(np.float64) - right) / scale
        # Not `>`: NaN must count as different.
        far = (~(apart <= _AT_AN_EDGE * tolerance)).sum(axis=(1, 2))
        same = (apart.mean(axis=(1, 2)) <= tolerance) & (far <= _RECOMPUTED * apart[0].size)
        return int((~same).sum())
    differing = (left != right).sum(axis=(1, 2))
    either = ((left != 0) | (right != 0)).sum(axis=(1, 2))
    return int((differing > np.maximum(1, _OF_A_MASK * either)).sum())


def mask_difference(left: Array, right: Array) -> float:
    """Return the mean difference of the values of masks, 0 if there are none."""
    return float(np.abs(left.astype(np.float64) - right).mean()) if left.size else 0.0
