"""Finds samples that prove nothing: no detection survives, or an output is constant or empty."""

from __future__ import annotations

from collections.abc import Sequence

from partition_core.base.errors import Problem, problem
from partition_core.base.recording import RecordedSample
from partition_core.graph.file.graph import Model
from partition_core.graph.walk import live_values
from partition_core.proof.comparison import same_bits, why_meaningless
from partition_core.proof.observed import Whole


def fixed_outputs(model: Model) -> frozenset[str]:
    """Return the outputs of `model` that no input can change."""
    live = live_values(model.graph)
    return frozenset(str(value.name) for value in model.graph.outputs if value not in live)


def meaningless(
    sample: str,
    whole: Whole,
    original: RecordedSample,
    detects: bool,
    fixed: frozenset[str],
    remedy: str,
) -> list[Problem]:
    """Return why a sample proves nothing: no detection survives, or an output is constant or empty.

    The outputs `fixed` may be; `remedy` is what to do about the others.
    """
    if detects:
        pictures = enumerate(original.outputs["labels"])
        without = [k for k, labels in pictures if not (labels >= 0).any()]
        return [
            problem(
                f"detections, sample {sample}, picture {picture}",
                "none survives, so the post-processing is not proven",
                "expected at least one detection in every picture",
                "give pictures with objects in 'proof.images', or other weights",
            )
            for picture in without
        ]
    return [
        problem(
            f"output '{name}', sample {sample}",
            f"{reason}, which proves nothing",
            "expected values that depend on the input",
            remedy,
        )
        for name, array in whole.outputs.items()
        if name not in fixed and (reason := why_meaningless(array))
    ]


def unchanged(
    samples: Sequence[RecordedSample],
    random: frozenset[str],
    fixed: frozenset[str],
    chain_moves: bool,
    remedy: str,
) -> list[Problem]:
    """Return a problem if the outputs are the same for the first two of `samples`, which differ.

    The outputs `random` differ between runs and show nothing. If there are any, it is enough that
    a proven output of a segment differs for both (`chain_moves`). If all are `fixed`, no input can
    change them, and one sample is enough.
    """
    first, second = (sample.outputs for sample in samples[:2])
    pairs = {name: (array, second[name]) for name, array in first.items() if name not in random}
    if (random and chain_moves) or (pairs and fixed.issuperset(pairs)):
        return []
    if all(same_bits(left, right) for left, right in pairs.values()):
        return [
            problem(
                "outputs",
                "they are the same for two different inputs, which proves nothing",
                "expected outputs that depend on the input",
                remedy,
            )
        ]
    return []
