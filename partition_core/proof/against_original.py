"""Compares end2end with the original, tensor by tensor and detection by detection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from partition_core.base.arrays import Array, Arrays
from partition_core.base.errors import Problem, problem
from partition_core.base.recording import RecordedSample
from partition_core.proof.comparison import (
    Detections,
    difference,
    form,
    is_rounded,
    largest_difference,
    magnitude,
    mask_difference,
    match_detections,
    same_detections,
    unequal_masks,
)
from partition_core.proof.observed import Whole

DETECTIONS = ("dets", "labels")
MASKS = "masks"
PANOPTIC = "panoptic"


def compared_tensors(
    sample: str,
    whole: Whole,
    original: RecordedSample,
    tolerance: float,
    left_out: frozenset[str],
    names: tuple[str, str],
    reason: Callable[[str, float | None], str],
    problems: list[Problem],
) -> dict[str, Any]:
    """Compare end2end with the original tensor by tensor, in the order of the calls.

    `left_out` names the tensors that are not compared: random ones, and the detections of a
    detector and what its choices give, whose rows near ties reorder; `detections` compares what
    becomes of them. `names` are what messages call both models; `reason` returns why an
    output or a mark reference may differ by so much, None for one of another form or of integers.
    """

    def close(kind: str, name: str, ours: Array, theirs: Array) -> dict[str, float]:
        where = f"{kind} '{name}', sample {sample}"
        figures, differences = _compared(where, ours, theirs, tolerance, names)
        largest = figures.get("largest_difference") if is_rounded(theirs) else None
        problems.extend(replace(each, remedy=reason(name, largest)) for each in differences)
        return figures

    # A marked tensor that nothing reads is not part of the exported model.
    marks = {
        name: close("mark", name, whole.marks[name], array)
        for name, array in original.marks.items()
        if name not in left_out and name in whole.marks
    }
    outputs = {
        name: close("output", name, whole.outputs[name], array)
        for name, array in original.outputs.items()
        if name not in left_out
    }
    return {"marks": marks, "outputs": outputs}


def _compared(
    where: str, ours: Array, theirs: Array, tolerance: float, names: tuple[str, str]
) -> tuple[dict[str, float], list[Problem]]:
    if form(ours) != form(theirs):
        what = f"{names[0]} and {names[1]} give different tensors"
        return {}, [problem(where, what, difference(ours, theirs))]
    largest = largest_difference(ours, theirs)
    scale = magnitude(theirs)
    allowed = tolerance * scale if is_rounded(theirs) else 0.0
    figures = {"largest_difference": largest, "largest_value": scale}
    if largest <= allowed:
        return figures, []
    what = f"{names[0]} differs from {names[1]} by {largest:.3g}"
    share = f"'proof.tolerance' {tolerance:g} of its largest value {scale:.3g}"
    expected = f"expected at most {allowed:.3g}, {share}"
    return figures, [problem(where, what, expected if allowed else "expected no difference")]


def most_detections(samples: Sequence[RecordedSample]) -> int:
    """Return the most detections of a picture: a lower bound of the limit on their number."""
    counts = [(original.outputs["labels"] >= 0).sum(axis=-1) for original in samples]
    return max((int(count.max(initial=0)) for count in counts), default=0)


def detections(
    sample: str,
    whole: Whole,
    original: RecordedSample,
    tolerance: float,
    limit: int,
    is_half: bool,
    problems: list[Problem],
) -> list[dict[str, Any]]:
    """Match the detections of each picture of a sample; padding at the end does not count.

    `tolerance`, `limit` and `is_half` are those of `match_detections`.
    """
    names = [*DETECTIONS, *([MASKS] if MASKS in original.outputs else [])]
    if mismatches := [
        _form(name, whole, original) for name in names if _form(name, whole, original)
    ]:
        problems.append(
            problem(
                f"detections, sample {sample}",
                "end2end and PyTorch give different tensors",
                "; ".join(mismatches),
            )
        )
        return []
    figures = []
    columns = [run.outputs[name] for run in (original, whole) for name in DETECTIONS]
    for picture, (dets, labels, our_dets, our_labels) in enumerate(zip(*columns, strict=True)):
        theirs, ours = Detections.of(dets, labels), Detections.of(our_dets, our_labels)
        match = match_detections(theirs, ours, tolerance, limit, is_half)
        figures.append({"pytorch": len(theirs), "end2end": len(ours), **asdict(match)})
        if not match.holds:
            problems.append(
                problem(
                    f"detections, sample {sample}, picture {picture}",
                    f"{match.different} differ between end2end ({len(ours)}) "
                    f"and PyTorch ({len(theirs)})",
                    "expected the same labels in the same order up to ties, boxes within "
                    f"{tolerance * match.largest_coordinate:.3g} pixels and scores within "
                    f"{tolerance * match.largest_score:.3g}",
                )
            )
        if MASKS in names:
            runs = (original.outputs, whole.outputs)
            figures[-1] |= _masks(sample, picture, runs, (theirs, ours), tolerance, problems)
    return figures


def _masks(
    sample: str,
    picture: int,
    runs: tuple[Arrays, Arrays],
    detections: tuple[Detections, Detections],
    tolerance: float,
    problems: list[Problem],
) -> dict[str, float]:
    """Compare the masks of the detections that PyTorch and end2end share."""
    places = same_detections(*detections, tolerance)
    theirs, ours = (
        outputs[MASKS][picture][outputs["labels"][picture] >= 0][place]
        for outputs, place in zip(runs, places, strict=True)
    )
    if unequal := unequal_masks(theirs, ours, tolerance):
        problems.append(
            problem(
                f"masks, sample {sample}, picture {picture}",
                f"{unequal} of {len(theirs)} differ between end2end and PyTorch",
                f"expected values that differ by at most {tolerance:g} in the mean of a mask, "
                "or booleans that differ in a hundredth of it",
            )
        )
    return {"mask_difference": mask_difference(theirs, ours)}


def unequal_maps(
    sample: str, whole: Whole, original: RecordedSample, tolerance: float
) -> list[Problem]:
    """Compare panoptic maps, whose pixels may fall on either side of an edge."""
    if PANOPTIC not in original.outputs:
        return []
    if mismatches := _form(PANOPTIC, whole, original):
        return [problem(f"panoptic map, sample {sample}", mismatches)]
    theirs, ours = original.outputs[PANOPTIC], whole.outputs[PANOPTIC]
    if unequal_masks(theirs, ours, tolerance) == 0:
        return []
    return [
        problem(
            f"panoptic map, sample {sample}",
            f"{(theirs != ours).mean():.1%} of its pixels differ between end2end and PyTorch",
            "expected at most 1 %",
        )
    ]


def _form(name: str, whole: Whole, original: RecordedSample) -> str:
    """Return how an output's dtype or shape differs (empty if not); dim 1, their number, may."""
    ours, theirs = whole.outputs[name], original.outputs[name]
    fixed = [array.shape[:1] + array.shape[2:] for array in (ours, theirs)]
    if ours.dtype == theirs.dtype and ours.ndim == theirs.ndim and fixed[0] == fixed[1]:
        return ""
    return f"'{name}': {difference(ours, theirs)}"
