"""Comparisons of arrays, and of detections as sets in which near ties may change places. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_SCORE_TIE = 1e-5


def same_bits(left: Array, right: Array) -> bool:
    """Return whether two arrays have the same dtype, shape and bits (NaN equals itself)."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind in "OSU":
        return bool(np.array_equal(left, right))
    return left.tobytes() == right.tobytes()


def largest_difference(left: Array, right: Array) -> float:
    """Return the largest absolute difference of two arrays of one shape (0 if they are empty).

    Two NaN, or two equal infinities, do not differ; any other pair with one of them differs
    infinitely.
    """
    if left.size == 0:
        return 0.0
    wide_left, wide_right = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(wide_left - wide_right)
    alike = (wide_left == wide_right) | (np.isnan(wide_left) & np.isnan(wide_right))
    return float(np.where(alike, 0.0, np.nan_to_num(difference, nan=np.inf)).max())


def magnitude(array: Array) -> float:
    """Return the largest finite absolute value of an array (0 if there is none)."""
    values = np.abs(array.astype(np.float64))
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0


def is_constant(array: Array) -> bool:
    """Return whether an array of several elements holds only one value."""
    return array.size > 1 and bool((array == array.flat[0]).all())


@dataclass(frozen=True)
class Match:
    """How two lists of detections of one picture agree.

    `pairs` detections are the same in both; `moved` of them stand elsewhere because scores tie;
    `cut` are in one list only because a tie was cut at its end; `different` have no
    counterpart. `difference` is the largest difference of a coordinate, in pixels, or score.
    """

    pairs: int
    moved: int
    cut: int
    different: int
    difference: float

    @property
    def holds(self) -> bool:
        """Whether the two lists are the same detections in the same order, up to ties."""
        return self.different == 0


def match_detections(
    left: Array, left_labels: Array, right: Array, right_labels: Array, tolerance: float
) -> Match:
    """Match detections (K, 5) and labels (K,) of one picture, best first, with another run's.

    Two detections are the same if their labels are equal, their boxes differ by at most
    `tolerance` times the largest coordinate and their scores by at most `tolerance`. They may
    stand in different places only where scores tie within 1e-5.
    """
    allowed = tolerance * max(1.0, magnitude(left[:, :4]))
    free = list(range(len(right)))
    pairs, moved, difference = 0, 0, 0.0
    lonely: list[float] = []
    for index in range(len(left)):
        found = next(
            (
                other
                for other in sorted(free, key=lambda other: (abs(other - index), other))
                if left_labels[index] == right_labels[other]
                and abs(left[index, 4] - right[other, 4]) <= tolerance
                and largest_difference(left[index, :4], right[other, :4]) <= allowed
            ),
            None,
        )
        if found is None:
            lonely.append(float(left[index, 4]))
            continue
        free.remove(found)
        pairs += 1
        difference = max(difference, largest_difference(left[index], right[found]))
        if found != index:
            moved += 1
            if not _ties(left, index, found):
                lonely.append(np.inf)
    lonely += [float(right[other, 4]) for other in free]
    last = min([*left[-1:, 4], *right[-1:, 4]], default=0.0)
    cut = sum(score - last <= _SCORE_TIE for score in lonely) if len(left) == len(right) else 0
    return Match(pairs, moved, cut, len(lonely) - cut, difference)


def _ties(dets: Array, index: int, found: int) -> bool:
    """Return whether the detections from place `index` to place `found` have one score."""
    low, high = sorted((index, min(found, len(dets) - 1)))
    scores = dets[low : high + 1, 4]
    return bool(scores.max() - scores.min() <= _SCORE_TIE)
