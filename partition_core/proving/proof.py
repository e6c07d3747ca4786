"""The proof of a build: segments chained = end2end, bit for bit, and end2end = eager PyTorch.

Both on every sample of the export, and refused where the samples would prove nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from partition_core.cutting.onnx_file.graph import Model
from partition_core.errors import ProofError
from partition_core.proving.chained import Chain, unequal_segments
from partition_core.proving.eager import (
    DETECTIONS,
    MASKS,
    PANOPTIC,
    against_eager,
    detections,
    most_detections,
    unequal_maps,
)
from partition_core.proving.observed import Arrays, Eager, Observed, Whole, samples_of
from partition_core.proving.vacuity import fixed_outputs, unmoved, vacuous

PYTORCH = "PyTorch"


def prove(
    end2end: Path,
    model: Model,
    chain: Chain,
    reference: Arrays,
    *,
    tolerance: float,
    detects: bool,
    scratch: Path,
    against: str = PYTORCH,
) -> dict[str, Any]:
    """Return the figures of the proof, as plain data; raise ProofError if it fails.

    `model` is the graph of the file `end2end`; `reference` is what the export gave
    (`exporter.Export.reference`); `tolerance` is relative to each tensor's largest magnitude;
    `detects` tells that the outputs are `dets`, `labels` and perhaps `masks`; `scratch` is an
    empty folder; `against` is what messages call that which gave the reference.
    """
    given = samples_of(reference)
    wholes, chosen = _wholes(Observed.of(end2end, model, scratch), given)
    problems = unequal_segments(chain, wholes, [inputs for inputs, _ in given])
    chooses = detects or PANOPTIC in wholes[0].outputs
    named = {*DETECTIONS, MASKS, PANOPTIC}
    matched = frozenset(chosen | named) if chooses else frozenset()
    limit = most_detections([eager for _, eager in given]) if detects else 0
    is_traced = against == PYTORCH
    remedy = "" if is_traced else "name other inputs in 'proof.inputs'"
    # After a trace an output that no input reaches may be a mistake of the trace.
    fixed: frozenset[str] = frozenset() if is_traced else fixed_outputs(model)
    samples = []
    for number, (whole, (_, eager)) in enumerate(zip(wholes, given, strict=True)):
        figures = against_eager(number, whole, eager, tolerance, matched, against, problems)
        if detects:
            figures["detections"] = detections(number, whole, eager, tolerance, limit, problems)
        problems += unequal_maps(number, whole, eager, tolerance)
        problems += vacuous(number, whole, eager, detects, fixed, remedy)
        samples.append({**figures, "nms": whole.suppressions})
    problems += unmoved(reference, remedy)
    if problems:
        raise ProofError(*problems)
    return {
        "samples": samples,
        "against": against,
        "tolerance": tolerance,
        "tensors": sum(len(boundary.outputs) for boundary in chain.boundaries),
        "given_by_end2end": [
            f"{edge.consumer}: {edge.input}" for edge in chain.edges if not edge.producer
        ],
        "matched_as_detections": sorted(matched),
    }


def _wholes(
    observed: Observed, given: list[tuple[Arrays, Eager]]
) -> tuple[list[Whole], frozenset[str]]:
    # The session ends with this call: a large model is in memory once, not beside its segments.
    return [observed.run(inputs) for inputs, _ in given], observed.chosen
