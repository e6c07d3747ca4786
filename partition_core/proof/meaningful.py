"""Samples that would prove nothing: no detection survives, or an output holds nothing."""

from __future__ import annotations

from collections.abc import Sequence

from partition_core.base.errors import Problem, problem
from partition_core.base.recording import RecordedSample
from partition_core.graph.file.graph import Model
from partition_core.graph.walk import dependents
from partition_core.proof.comparison import emptiness, same_bits
from partition_core.proof.observed import Whole


def fixed_outputs(model: Model) -> frozenset[str]:
    """Return the outputs of `model` that no input can change."""
    inputs = [value for value in model.graph.inputs if value.tensor is None]
    live = dependents(model.graph, inputs)
    return frozenset(str(value.name) for value in model.graph.outputs if value not in live)


def vacuous(
    sample: str,
    whole: Whole,
    original: RecordedSample,
    detects: bool,
    fixed: frozenset[str],
    remedy: str,
) -> list[Problem]:
    """Return why a sample proves nothing: no detection survives, or an output holds nothing.

    The outputs `fixed` need not hold anything; `remedy` is what to do about the others.
    """
    if detects:
        found = enumerate(original.outputs["labels"])
        none = [k for k, labels in found if not (labels >= 0).any()]
        return [
            problem(
                f"detections, sample {sample}, picture {picture}",
                "none survives, so the post-processing is not proven",
                "expected at least one detection in every picture",
                "give pictures with objects in 'proof.images', or other weights",
            )
            for picture in none
        ]
    return [
        problem(
            f"output '{name}', sample {sample}",
            f"{nothing}, which proves nothing",
            "expected values that depend on the input",
            remedy,
        )
        for name, array in whole.outputs.items()
        if name not in fixed and (nothing := emptiness(array))
    ]


def unmoved(
    samples: Sequence[RecordedSample],
    random: frozenset[str],
    fixed: frozenset[str],
    chain_moves: bool,
    remedy: str,
) -> list[Problem]:
    """Return a problem if the outputs are the same for the first two of `samples`, which differ.

    The outputs `random` differ from run to run and show nothing. Where there are some,
    `chain_moves`, that a proven output of a segment is not the same for both, is enough. Where
    all are `fixed`, no input can change them, and one sample shows all that there is.
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
