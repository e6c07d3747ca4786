"""The proof of a build: segments chained = end2end, bit for bit, and end2end = eager PyTorch.

Both on every sample of the export, and refused where the samples would prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partition_core.cutting.boundaries import MODEL_INPUT, Edge, SegmentBoundary
from partition_core.cutting.graph_marks import marks_of
from partition_core.cutting.graph_walk import dependents
from partition_core.cutting.onnx_file.graph import Model
from partition_core.errors import Problem, ProofError, problem
from partition_core.proving.comparison import (
    Array,
    Detections,
    emptiness,
    largest_difference,
    magnitude,
    match_detections,
    same_bits,
    same_detections,
)
from partition_core.proving.masks import mask_difference, unequal_masks
from partition_core.proving.sessions import Session, with_outputs

Arrays = Mapping[str, Array]
END2END = "end2end.onnx"
_DETECTIONS = ("dets", "labels")
_MASKS = "masks"
_PANOPTIC = "panoptic"
_CHOOSING = frozenset({"NonMaxSuppression", "NonZero", "TopK"})


@dataclass(frozen=True)
class Chain:
    """The segments of a partition as files, in their order, and how tensors go between them."""

    files: Mapping[str, Path]
    boundaries: Sequence[SegmentBoundary]
    edges: Sequence[Edge]


def prove(
    end2end: Path,
    model: Model,
    chain: Chain,
    reference: Arrays,
    *,
    tolerance: float,
    detects: bool,
    scratch: Path,
) -> dict[str, Any]:
    """Return the figures of the proof, as plain data; raise ProofError if it fails.

    `model` is the graph of the file `end2end`; `reference` is what the export gave
    (`exporter.Export.reference`); `tolerance` is relative to each tensor's largest magnitude;
    `detects` tells that the outputs are `dets`, `labels` and perhaps `masks`; `scratch` is an
    empty folder.
    """
    observed = Observed.of(end2end, model, scratch)
    sessions = {name: Session(file, name) for name, file in chain.files.items()}
    samples = []
    problems: list[Problem] = []
    given = _samples(reference)
    matched = frozenset({*observed.chosen, *_DETECTIONS, _MASKS}) if detects else frozenset()
    matched |= {name for name in observed.outputs if name == _PANOPTIC}
    limit = _most_detections([eager for _, eager in given]) if detects else 0
    for number, (inputs, eager) in enumerate(given):
        whole = observed.run(inputs)
        problems += _unequal_segments(number, sessions, chain, whole, inputs)
        figures = _against_eager(number, whole, eager, tolerance, matched, problems)
        if detects:
            figures["detections"] = _detections(number, whole, eager, tolerance, limit, problems)
        problems += _unequal_maps(number, whole, eager, tolerance)
        problems += _vacuous(number, whole, eager, detects)
        samples.append({**figures, "nms": whole.suppressions})
    problems += _unmoved(reference)
    if problems:
        raise ProofError(*problems)
    return {
        "samples": samples,
        "tolerance": tolerance,
        "tensors": sum(len(boundary.outputs) for boundary in chain.boundaries),
        "given_by_end2end": [
            f"{edge.consumer}: {edge.input}" for edge in chain.edges if not edge.producer
        ],
        "matched_as_detections": sorted(matched),
    }


@dataclass(frozen=True)
class Eager:
    """What PyTorch gave for one sample: outputs by name, marked tensors by reference."""

    outputs: Arrays
    marks: Arrays


def _samples(reference: Arrays) -> list[tuple[Arrays, Eager]]:
    split: dict[str, dict[str, dict[str, Array]]] = {}
    for key, array in reference.items():
        number, kind, name = key.split("/", 2)
        kinds = split.setdefault(number, {"input": {}, "mark": {}, "output": {}})
        kinds[kind][name] = array
    return [(one["input"], Eager(one["output"], one["mark"])) for one in split.values()]


@dataclass(frozen=True)
class Whole:
    """What the end2end model gave for one sample."""

    outputs: Arrays
    marks: Arrays
    suppressions: list[dict[str, int]]


@dataclass(frozen=True)
class Observed:
    """The end2end model with its marked tensors, and what enters and leaves its NMS, visible.

    `marks` maps a mark reference to a value's name; `chosen` are the references to tensors that
    hold rows chosen among candidates; `nms` holds pairs of names: the boxes that a
    NonMaxSuppression node reads and the indices that it gives.
    """

    session: Session
    outputs: tuple[str, ...]
    marks: Mapping[str, str]
    chosen: frozenset[str]
    nms: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, file: Path, model: Model, scratch: Path) -> Observed:
        """Load the model in `file`, whose graph is `model`, with the extra outputs."""
        tensors = [tensor for tensor in marks_of(model).tensors if not tensor.enclosing]
        marks = {str(tensor): tensor.seen.name for tensor in tensors}
        choices = [v for node in model.graph if node.op_type in _CHOOSING for v in node.outputs]
        behind = dependents(model.graph, choices)
        chosen = frozenset(str(tensor) for tensor in tensors if tensor.value in behind)
        nms = tuple(
            (str(node.inputs[0].name), str(node.outputs[0].name))
            for node in model.graph
            if node.op_type == "NonMaxSuppression" and node.inputs[0] is not None
        )
        outputs = tuple(str(value.name) for value in model.graph.outputs)
        extra = dict.fromkeys([*marks.values(), *(name for pair in nms for name in pair)])
        added = [name for name in extra if name not in outputs]
        observed = with_outputs(file, added, scratch / "observed.onnx")
        return cls(Session(observed, END2END), outputs, marks, chosen, nms)

    def run(self, inputs: Arrays) -> Whole:
        """Run the model on one sample."""
        given = self.session.run(inputs)
        return Whole(
            outputs={name: given[name] for name in self.outputs},
            marks={reference: given[name] for reference, name in self.marks.items()},
            suppressions=[
                {"candidates": int(given[boxes].shape[1]), "kept": len(given[kept])}
                for boxes, kept in self.nms
            ],
        )


def _unequal_segments(
    number: int, sessions: Mapping[str, Session], chain: Chain, whole: Whole, inputs: Arrays
) -> list[Problem]:
    """Run the segments in order; return the problem of the first one that differs from end2end.

    An input that no segment gives (a gap of the recipe) comes from the end2end model.
    """
    made: dict[tuple[str, str], Array] = {(MODEL_INPUT, name): a for name, a in inputs.items()}
    for boundary in chain.boundaries:
        source = {
            edge.input: made[edge.producer, edge.output]
            for edge in chain.edges
            if edge.consumer == boundary.save_file and edge.producer
        }
        fed = {t.name: source.get(t.name, whole.marks[t.reference]) for t in boundary.inputs}
        given = sessions[boundary.save_file].run(fed)
        wrong = [
            (tensor, given[tensor.name], whole.marks[tensor.reference])
            for tensor in boundary.outputs
            if not same_bits(given[tensor.name], whole.marks[tensor.reference])
        ]
        if wrong:
            return [
                problem(
                    f"segment '{boundary.save_file}'",
                    f"its output '{tensor.name}' is not what end2end computes for sample {number}",
                    f"expected '{tensor.reference}' bit for bit; {_difference(ours, theirs)}",
                )
                for tensor, ours, theirs in wrong
            ]
        made.update(((boundary.save_file, name), array) for name, array in given.items())
    return []


def _difference(ours: Array, theirs: Array) -> str:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"found {ours.dtype}{list(ours.shape)}, not {theirs.dtype}{list(theirs.shape)}"
    if ours.dtype.kind in "OSU":
        return "the texts differ"
    return f"the largest difference is {largest_difference(ours, theirs):.3g}"


def _against_eager(
    number: int,
    whole: Whole,
    eager: Eager,
    tolerance: float,
    matched: frozenset[str],
    problems: list[Problem],
) -> dict[str, Any]:
    """Compare end2end with PyTorch tensor by tensor, in the order of the calls.

    Left out are `matched`, the detections of a detector and what its choices give: near ties
    order their rows differently, and `_detections` compares what becomes of them.
    """
    marks, outputs = {}, {}
    for name, array in eager.marks.items():
        # A marked tensor that nothing reads is not part of the exported model.
        if name not in matched and name in whole.marks:
            where, ours = f"mark '{name}'", whole.marks[name]
            marks[name] = _close(where, number, ours, array, tolerance, problems)
    for name, array in eager.outputs.items():
        if name not in matched:
            where, ours = f"output '{name}'", whole.outputs[name]
            outputs[name] = _close(where, number, ours, array, tolerance, problems)
    return {"marks": marks, "outputs": outputs}


def _close(
    where: str, number: int, ours: Array, theirs: Array, tolerance: float, problems: list[Problem]
) -> dict[str, float]:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        problems.append(
            problem(
                f"{where}, sample {number}",
                "end2end and PyTorch give different tensors",
                _difference(ours, theirs),
            )
        )
        return {}
    largest = largest_difference(ours, theirs)
    scale = magnitude(theirs)
    allowed = tolerance * scale if theirs.dtype.kind == "f" else 0.0
    if largest > allowed:
        problems.append(
            problem(
                f"{where}, sample {number}",
                f"end2end differs from PyTorch by {largest:.3g}",
                f"expected at most {allowed:.3g}, {tolerance:g} of its largest value {scale:.3g}"
                if allowed
                else "expected no difference",
            )
        )
    return {"largest_difference": largest, "largest_value": scale}


def _most_detections(samples: Sequence[Eager]) -> int:
    """Return the most detections of a picture: what a limit on their number is at least."""
    counts = [(eager.outputs["labels"] >= 0).sum(axis=-1) for eager in samples]
    return max((int(count.max(initial=0)) for count in counts), default=0)


def _detections(
    number: int,
    whole: Whole,
    eager: Eager,
    tolerance: float,
    limit: int,
    problems: list[Problem],
) -> list[dict[str, Any]]:
    """Match the detections of each picture of a sample; filling at the end does not count."""
    names = [*_DETECTIONS, *([_MASKS] if _MASKS in eager.outputs else [])]
    if odd := [_form(name, whole, eager) for name in names if _form(name, whole, eager)]:
        problems.append(
            problem(
                f"detections, sample {number}",
                "end2end and PyTorch give different tensors",
                "; ".join(odd),
            )
        )
        return []
    found = []
    columns = [given.outputs[name] for given in (eager, whole) for name in _DETECTIONS]
    for picture, (dets, labels, our_dets, our_labels) in enumerate(zip(*columns, strict=True)):
        theirs, ours = Detections.of(dets, labels), Detections.of(our_dets, our_labels)
        match = match_detections(theirs, ours, tolerance, limit)
        found.append({"pytorch": len(theirs), "end2end": len(ours), **asdict(match)})
        if not match.holds:
            problems.append(
                problem(
                    f"detections, sample {number}, picture {picture}",
                    f"{match.different} differ between end2end ({len(ours)}) "
                    f"and PyTorch ({len(theirs)})",
                    "expected the same labels in the same order up to ties, boxes within "
                    f"{tolerance * match.largest_coordinate:.3g} pixels and scores within "
                    f"{tolerance * match.largest_score:.3g}",
                )
            )
        if _MASKS in names:
            found[-1] |= _masks(
                number, picture, (eager.outputs, whole.outputs), (theirs, ours), tolerance, problems
            )
    return found


def _masks(
    number: int,
    picture: int,
    runs: tuple[Arrays, Arrays],
    detections: tuple[Detections, Detections],
    tolerance: float,
    problems: list[Problem],
) -> dict[str, float]:
    """Compare the masks of the detections that PyTorch and end2end have in common."""
    places = same_detections(*detections, tolerance)
    theirs, ours = (
        outputs[_MASKS][picture][outputs["labels"][picture] >= 0][place]
        for outputs, place in zip(runs, places, strict=True)
    )
    if unequal := unequal_masks(theirs, ours, tolerance):
        problems.append(
            problem(
                f"masks, sample {number}, picture {picture}",
                f"{unequal} of {len(theirs)} differ between end2end and PyTorch",
                f"expected values that differ by at most {tolerance:g} in the mean of a mask, "
                "or truths that differ in a hundredth of it",
            )
        )
    return {"mask_difference": mask_difference(theirs, ours)}


def _unequal_maps(number: int, whole: Whole, eager: Eager, tolerance: float) -> list[Problem]:
    """Compare panoptic maps, whose places may fall on either side of an edge."""
    if _PANOPTIC not in eager.outputs:
        return []
    if odd := _form(_PANOPTIC, whole, eager):
        return [problem(f"panoptic map, sample {number}", odd)]
    theirs, ours = eager.outputs[_PANOPTIC], whole.outputs[_PANOPTIC]
    if unequal_masks(theirs, ours, tolerance) == 0:
        return []
    return [
        problem(
            f"panoptic map, sample {number}",
            f"{(theirs != ours).mean():.1%} of its places differ between end2end and PyTorch",
            "expected at most a hundredth",
        )
    ]


def _form(name: str, whole: Whole, eager: Eager) -> str:
    """Return how the dtype or shape of an output differs (empty if not; dim 1 is their number)."""
    ours, theirs = whole.outputs[name], eager.outputs[name]
    fixed = [array.shape[:1] + array.shape[2:] for array in (ours, theirs)]
    if ours.dtype == theirs.dtype and ours.ndim == theirs.ndim and fixed[0] == fixed[1]:
        return ""
    return f"'{name}': {_difference(ours, theirs)}"


def _vacuous(number: int, whole: Whole, eager: Eager, detects: bool) -> list[Problem]:
    """Return why a sample proves nothing: no detection survives, or an output holds nothing."""
    if detects:
        none = [k for k, labels in enumerate(eager.outputs["labels"]) if not (labels >= 0).any()]
        return [
            problem(
                f"detections, sample {number}, picture {picture}",
                "none survives, so the post-processing is not proven",
                "expected at least one detection in every picture",
                "give pictures with objects in 'proof.images', or other weights",
            )
            for picture in none
        ]
    return [
        problem(
            f"output '{name}', sample {number}",
            f"{nothing}, which proves nothing",
            "expected values that depend on the input",
        )
        for name, array in whole.outputs.items()
        if (nothing := emptiness(array))
    ]


def _unmoved(reference: Arrays) -> list[Problem]:
    """Return a problem if the outputs are the same for the first two, different, samples."""
    pairs = [
        (array, reference[f"1/output/{key.split('/', 2)[2]}"])
        for key, array in reference.items()
        if key.startswith("0/output/")
    ]
    if all(same_bits(np.asarray(left), np.asarray(right)) for left, right in pairs):
        return [
            problem(
                "outputs",
                "they are the same for two different inputs, which proves nothing",
                "expected outputs that depend on the input",
            )
        ]
    return []
