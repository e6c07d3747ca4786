"""Compares arrays, masks, and detections as lists in which near ties may swap places. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from partition_core.base.arrays import Array
from partition_core.base.rare_dtypes import is_float, is_number

Value = Any
"""An output of a model: an array, or a list of arrays for an ONNX sequence."""

_MOST_CUT = 10
_SAME_COORDINATES = 3
_SAME_BOX = 0.5
_AT_AN_EDGE = 100.0
_OF_A_MASK = 0.01
_RECOMPUTED = 0.001


def same_bits(left: Value, right: Value) -> bool:
    """Return whether two values have the same dtypes, shapes and bits (NaN equals itself)."""
    if isinstance(left, list) or isinstance(right, list):
        return (
            isinstance(left, list)
            and isinstance(right, list)
            and len(left) == len(right)
            and all(map(same_bits, left, right))
        )
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind in "OSU":
        return bool(np.array_equal(left, right))
    return bool(left.tobytes() == right.tobytes())


def agrees(ours: Value, theirs: Value, allowed: float) -> bool:
    """Return whether a value is `theirs` bit for bit, or floats whose `relative_l2` is `allowed`.

    Values that are not finite must be the same.
    """
    if same_bits(ours, theirs) or not allowed or form(ours) != form(theirs):
        return same_bits(ours, theirs)
    if isinstance(theirs, list):
        return all(agrees(*pair, allowed) for pair in zip(ours, theirs, strict=True))
    if not is_float(theirs.dtype):
        return False
    finite = np.isfinite(expected := theirs.astype(np.float64))
    same = np.array_equal(ours.astype(np.float64)[~finite], expected[~finite], equal_nan=True)
    return bool(same and relative_l2(ours, theirs) <= allowed)


def relative_l2(ours: Value, theirs: Value) -> float:
    """Return the L2 norm of the difference of two values of one form, relative to `theirs`.

    Only where `theirs` is finite; infinite if `ours` is not finite there, or `theirs` is all zero
    and `ours` is not. For a sequence, the largest of its arrays.
    """
    if isinstance(theirs, list):
        return max((relative_l2(*pair) for pair in zip(ours, theirs, strict=True)), default=0.0)
    if not is_number(theirs.dtype):
        return 0.0 if same_bits(ours, theirs) else float("inf")
    wide, expected = ours.astype(np.float64), theirs.astype(np.float64)
    finite = np.isfinite(expected)
    apart = float(np.linalg.norm(wide[finite] - expected[finite]))
    size = float(np.linalg.norm(expected[finite]))
    if not apart:
        return 0.0
    return apart / size if size and np.isfinite(apart) else float("inf")


def largest_difference(left: Value, right: Value) -> float:
    """Return the largest absolute difference of two values of one form (0 if they are empty).

    Two NaN, or two equal infinities, do not differ; any other pair with one of them differs
    infinitely.
    """
    if isinstance(left, list):
        return max((largest_difference(*pair) for pair in zip(left, right, strict=True)), default=0)
    if left.size == 0:
        return 0.0
    wide_left, wide_right = left.astype(np.float64), np.asarray(right).astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(wide_left - wide_right)
    same = (wide_left == wide_right) | (np.isnan(wide_left) & np.isnan(wide_right))
    return float(np.where(same, 0.0, np.nan_to_num(difference, nan=np.inf, posinf=np.inf)).max())


def change(left: Value, right: Value) -> float:
    """Return the largest difference of two values: infinite if dtype or shape differ."""
    return largest_difference(left, right) if form(left) == form(right) else float("inf")


def difference(ours: Value, theirs: Value) -> str:
    """Return in words how two values differ: dtype, shape, text or the largest difference."""
    if form(ours) != form(theirs):
        return f"found {form(ours)}, not {form(theirs)}"
    if not is_numeric(ours):
        return "the texts differ"
    return f"the largest difference is {largest_difference(ours, theirs):.3g}"


def form(value: Value) -> str:
    """Return the dtype and shape of a value in words: `float32[1, 3]`, those of each in a list."""
    if isinstance(value, list):
        return f"a sequence of {', '.join(map(form, value)) or 'nothing'}"
    return f"{value.dtype}{list(value.shape)}"


def same_kind(left: Value, right: Value) -> bool:
    """Return whether two values have the same dtype and rank, or are both sequences."""
    if isinstance(left, list) or isinstance(right, list):
        return isinstance(left, list) and isinstance(right, list)
    return bool(left.dtype == right.dtype and left.ndim == right.ndim)


def is_numeric(value: Any) -> bool:
    """Return whether a value is numeric or boolean, or a sequence of such arrays."""
    if isinstance(value, list):
        return all(isinstance(item, np.ndarray) and is_numeric(item) for item in value)
    return isinstance(value, np.ndarray) and is_number(value.dtype)


def is_rounded(value: Value) -> bool:
    """Return whether elements of a value are floats."""
    return any(is_float(item.dtype) for item in (value if isinstance(value, list) else [value]))


def magnitude(value: Value) -> float:
    """Return the largest finite absolute value of a value (0 if there is none)."""
    if isinstance(value, list):
        return max(map(magnitude, value), default=0.0)
    values = np.abs(value.astype(np.float64))
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0


def why_meaningless(value: Value) -> str:
    """Return why comparing a value proves nothing (empty if it proves something).

    A single element proves something, and so does a sequence in which any array does.
    """
    if isinstance(value, list):
        reasons = [why_meaningless(item) for item in value]
        return reasons[0] if reasons and all(reasons) else "" if reasons else "it has no array"
    if value.size == 0:
        return "it is empty"
    if is_float(value.dtype) and not np.isfinite(value.astype(np.float64)).any():
        return "it has no finite value"
    if value.size > 1 and bool((value == value.flat[0]).all()):
        return "all its values are equal"
    return ""


@dataclass(frozen=True)
class Detections:
    """The detections of one picture: boxes (K, 4), scores (K,), both float64, and labels (K,)."""

    boxes: Array
    scores: Array
    labels: Array

    @classmethod
    def of(cls, dets: Array, labels: Array) -> Detections:
        """Return the rows of `dets` (N, 5) and `labels` (N,) that are not padding (label -1)."""
        real = labels >= 0
        wide = dets[real].astype(np.float64)
        return cls(wide[:, :4], wide[:, 4], labels[real])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Match:
    """How two lists of detections of one picture agree.

    `pairs` detections are in both; `moved` of them are in another place because scores tie; `cut`
    of each list are not in the other because of a tie at its end; `rounded`, counted in both lists,
    are not in the other because float16 rounds the scores that select them; `different`, counted
    in both lists, are unexplained. The differences are the largest of the pairs, in pixels and in
    scores; `largest_coordinate` and `largest_score` are what the tolerance is relative to.
    """

    pairs: int
    moved: int
    cut: int
    rounded: int
    different: int
    box_difference: float
    score_difference: float
    largest_coordinate: float
    largest_score: float

    @property
    def holds(self) -> bool:
        """Whether the two lists are the same detections in the same order, up to ties."""
        return self.different == 0


@np.errstate(invalid="ignore")
def match_detections(
    left: Detections, right: Detections, tolerance: float, limit: int, is_half: bool = False
) -> Match:
    """Match the detections of one picture with those of another run; `left` is the reference.

    Two detections are the same if their labels are equal, their boxes differ by at most
    `tolerance` of the largest coordinate and their scores by at most `tolerance` of the largest
    score. Let d be the largest score difference among them. Two scores *tie*
    if they lie within 2 d: runs whose scores differ by up to d can order only such scores
    differently. So d, and not the tolerance, says what may change:

    * two detections may stand in another order only if their scores tie;
    * a detection may be in one list only if the list was cut there: both lists are equally long
      and not shorter than `limit` (the most detections of any picture), its score ties with the
      last score of the other list, nothing that is only in the other list lies at its place (it
      would be this detection, changed), and this holds for at most a tenth of the list.

    With `is_half` the runs compute in different precisions, and rounding decides which of several
    near-equal candidates are kept: those of equal rank at a limit before suppression, and those
    whose overlap is near the suppression threshold. So at most a tenth of each list may be in that
    list only, whatever it is.
    """
    coordinate, score = magnitude(left.boxes), magnitude(left.scores)
    ours, theirs = same_detections(left, right, tolerance)
    apart = np.abs(left.boxes[ours] - right.boxes[theirs])
    noise = float(np.abs(left.scores[ours] - right.scores[theirs]).max(initial=0.0))
    unmatched = (_others(len(left), ours), _others(len(right), theirs))
    changed = _at_one_place(
        left.boxes[unmatched[0]], right.boxes[unmatched[1]], tolerance * coordinate
    )
    cut_off = not changed.any() and _was_cut(left, right, unmatched, 2 * noise, limit)
    cut = len(unmatched[0]) if cut_off else 0
    is_few = max(map(len, unmatched)) * _MOST_CUT <= min(len(left), len(right))
    rounded = len(unmatched[0]) + len(unmatched[1]) if is_half and not cut and is_few else 0
    return Match(
        pairs=len(ours),
        moved=int((ours != theirs).sum()),
        cut=cut,
        rounded=rounded,
        different=_misplaced(left.scores[ours], right.scores[theirs], theirs, 2 * noise)
        + (0 if cut or rounded else len(unmatched[0]) + len(unmatched[1])),
        box_difference=float(apart.max(initial=0.0)),
        score_difference=noise,
        largest_coordinate=coordinate,
        largest_score=score,
    )


@np.errstate(invalid="ignore")
def same_detections(left: Detections, right: Detections, tolerance: float) -> tuple[Array, Array]:
    """Return the indices, in both lists, of the detections in both (`match_detections`)."""
    coordinate, score = magnitude(left.boxes), magnitude(left.scores)
    apart = np.abs(left.boxes[:, None] - right.boxes[None]).max(axis=2, initial=0.0)
    gaps = np.abs(left.scores[:, None] - right.scores[None])
    distance = np.maximum(apart / (coordinate or 1.0), gaps / (score or 1.0))
    same = (left.labels[:, None] == right.labels[None]) & (distance <= tolerance)
    return _nearest_pairs(distance, same)


def _nearest_pairs(distance: Array, same: Array) -> tuple[Array, Array]:
    """Return the indices, in both lists, of pairs made nearest first, sorted by the left index."""
    rows, columns = np.nonzero(same)
    order = np.lexsort((np.abs(rows - columns), distance[rows, columns]))
    left: dict[int, int] = {}
    used: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in left and column not in used:
            left[row] = column
            used.add(column)
    ours = sorted(left)
    return np.array(ours, dtype=int), np.array([left[row] for row in ours], dtype=int)


def _others(count: int, places: Array) -> Array:
    return np.setdiff1d(np.arange(count), places)


def _misplaced(left: Array, right: Array, places: Array, tie: float) -> int:
    """Return how many pairs swap places with a pair whose score does not tie with theirs.

    `left` and `right` are the scores of the pairs in the order of the left list, `places` their
    indices in the right list.
    """
    swapped = np.triu(places[:, None] > places[None])
    gap = np.maximum(np.abs(left[:, None] - left[None]), np.abs(right[:, None] - right[None]))
    wrong = swapped & (gap > tie)
    return int((wrong | wrong.T).any(axis=1).sum())


def _was_cut(
    left: Detections, right: Detections, unmatched: tuple[Array, Array], tie: float, limit: int
) -> bool:
    """Return whether ties at the end of both lists explain the detections that are `unmatched`."""
    ours, theirs = unmatched
    if not len(ours) or len(left) != len(right) or len(left) < limit:
        return False
    if len(ours) * _MOST_CUT > len(left):
        return False
    ends = (left.scores[ours] - right.scores[-1], right.scores[theirs] - left.scores[-1])
    return all(bool((np.abs(gaps) <= tie).all()) for gaps in ends)


def _overlaps(left: Array, right: Array) -> Array:
    """Return the intersection over union of boxes (L, 4) and (R, 4), as (L, R)."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (left, right)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.where(union > 0, union, 1.0))


def _at_one_place(left: Array, right: Array, allowed: float) -> Array:
    """Return which boxes of two lists are the same box, perhaps changed, as (L, R).

    They share more than half of their union or three coordinates, or one has a value that is not
    finite.
    """
    apart = _overlaps(left, right) <= _SAME_BOX
    common = (np.abs(left[:, None] - right[None]) <= allowed).sum(axis=2)
    same: Array = ~apart | (common >= _SAME_COORDINATES)
    return same


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
