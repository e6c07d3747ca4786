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
)
from partition_core.proving.sessions import Session, with_outputs

Arrays = Mapping[str, Array]
END2END = "end2end.onnx"
PYTORCH = "PyTorch"
_DETECTIONS = ("dets", "labels")
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
    against: str = PYTORCH,
) -> dict[str, Any]:
    """Return the figures of the proof, as plain data; raise ProofError if it fails.

    `model` is the graph of the file `end2end`; `reference` is what the export gave
    (`exporter.Export.reference`); `tolerance` is relative to each tensor's largest magnitude;
    `detects` tells that the outputs are `dets` and `labels`; `scratch` is an empty folder;
    `against` is what messages call that which gave the reference.
    """
    observed = Observed.of(end2end, model, scratch)
    sessions = {name: Session(file, name) for name, file in chain.files.items()}
    is_traced = against == PYTORCH
    remedy = "" if is_traced else "name other inputs in 'proof.inputs'"
    # After a trace an output that no input reaches may be a mistake of the trace.
    fixed: frozenset[str] = frozenset() if is_traced else _fixed_outputs(model)
    samples = []
    problems: list[Problem] = []
    given = _samples(reference)
    matched = frozenset({*observed.chosen, *_DETECTIONS}) if detects else frozenset()
    limit = _most_detections([eager for _, eager in given]) if detects else 0
    for number, (inputs, eager) in enumerate(given):
        whole = observed.run(inputs)
        problems += _unequal_segments(number, sessions, chain, whole, inputs)
        figures = _against_eager(number, whole, eager, tolerance, matched, against, problems)
        if detects:
            figures["detections"] = _detections(number, whole, eager, tolerance, limit, problems)
        problems += _vacuous(number, whole, eager, detects, fixed, remedy)
        samples.append({**figures, "nms": whole.suppressions})
    problems += _unmoved(reference, remedy)
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
    against: str,
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
            marks[name] = _close(where, number, ours, array, tolerance, against, problems)
    for name, array in eager.outputs.items():
        if name not in matched:
            where, ours = f"output '{name}'", whole.outputs[name]
            outputs[name] = _close(where, number, ours, array, tolerance, against, problems)
    return {"marks": marks, "outputs": outputs}


def _close(
    where: str,
    number: int,
    ours: Array,
    theirs: Array,
    tolerance: float,
    against: str,
    problems: list[Problem],
) -> dict[str, float]:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        problems.append(
            problem(
                f"{where}, sample {number}",
                f"end2end and {against} give different tensors",
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
                f"end2end differs from {against} by {largest:.3g}",
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
    if odd := [_form(name, whole, eager) for name in _DETECTIONS if _form(name, whole, eager)]:
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
    return found


def _form(name: str, whole: Whole, eager: Eager) -> str:
    """Return how the dtype or shape of an output differs (empty if not; dim 1 is their number)."""
    ours, theirs = whole.outputs[name], eager.outputs[name]
    fixed = [array.shape[:1] + array.shape[2:] for array in (ours, theirs)]
    if ours.dtype == theirs.dtype and ours.ndim == theirs.ndim and fixed[0] == fixed[1]:
        return ""
    return f"'{name}': {_difference(ours, theirs)}"


def _fixed_outputs(model: Model) -> frozenset[str]:
    """Return the outputs of `model` that no input can change."""
    inputs = [value for value in model.graph.inputs if value.tensor is None]
    live = dependents(model.graph, inputs)
    return frozenset(value.name for value in model.graph.outputs if value not in live)


def _vacuous(
    number: int, whole: Whole, eager: Eager, detects: bool, fixed: frozenset[str], remedy: str
) -> list[Problem]:
    """Return why a sample proves nothing: no detection survives, or an output holds nothing.

    The outputs `fixed` need not hold anything.
    """
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
            remedy,
        )
        for name, array in whole.outputs.items()
        if name not in fixed and (nothing := emptiness(array))
    ]


def _unmoved(reference: Arrays, remedy: str) -> list[Problem]:
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
                remedy,
            )
        ]
    return []
