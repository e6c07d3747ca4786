"""The proof in one line, from its figures; must not run anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from partition_core.wording import counted


def summary(figures: Mapping[str, Any], uncovered: int = 0, zero_or_one: Sequence[str] = ()) -> str:
    """Return the figures of a proof (`proof.prove`) in one line: what was proven, how exactly.

    `uncovered` is the number of nodes of end2end that no segment runs, `zero_or_one` are the
    integer inputs that had no other elements.
    """
    pictures = [one for sample in figures["samples"] for one in sample.get("detections", [])]
    lent = figures["given_by_end2end"]
    gaps = f", {counted(len(lent), 'input')} taken from end2end" if lent else ""
    gaps += f", {counted(uncovered, 'node')} in no segment" if uncovered else ""
    return (
        f"proven on {counted(len(figures['samples']), 'input')}: "
        f"the segments in a chain equal end2end bit for bit "
        f"({counted(figures['tensors'], 'boundary tensor')}{gaps}), end2end equals "
        f"{figures.get('against', 'PyTorch')} within "
        f"{_worst(figures['samples'], pictures):.1e} of each tensor's largest value"
        f"{_detections(pictures)}{_untried(zero_or_one)}"
    )


def _untried(inputs: Sequence[str]) -> str:
    if not inputs:
        return ""
    names = " and ".join(f"'{name}'" for name in inputs)
    places = " and ".join(f"export.inputs.{name}" for name in inputs)
    return f"; {names} drawn only from 0 and 1: nothing tells a range, write 'range' in {places}"


def _worst(samples: list[Mapping[str, Any]], pictures: list[Mapping[str, Any]]) -> float:
    """Return the largest difference, each relative to its tensor's largest value."""
    pairs = [
        (tensor["largest_difference"], tensor["largest_value"])
        for sample in samples
        for tensor in (*sample["marks"].values(), *sample["outputs"].values())
    ]
    pairs += [
        (picture[f"{what}_difference"], picture[f"largest_{scale}"])
        for picture in pictures
        for what, scale in (("box", "coordinate"), ("score", "score"))
    ]
    return max((difference / (scale or 1.0) for difference, scale in pairs), default=0.0)


def _detections(pictures: list[Mapping[str, Any]]) -> str:
    if not pictures:
        return ""
    equal = ", ".join(str(picture["pairs"]) for picture in pictures)
    counts = {
        what: sum(picture[key] for picture in pictures)
        for key, what in (("moved", "in another place"), ("cut", "replaced at the end"))
    }
    ties = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"; detections equal to PyTorch's: {equal}" + (f" ({ties} by a tie)" if ties else "")
