"""Compares a segment that runs in its target with onnxruntime: each tensor, and what follows.

The segment gets what the chain feeds it on every sample. Its outputs must agree with those of
onnxruntime, and must not agree with those of another sample: a comparison that accepts them is
blind. Then the rest of the chain runs behind it, and its detections must be those of end2end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from partition_core.backends.backend import Agreement
from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.arrays import Array, Arrays
from partition_core.base.errors import Problem, ProofError, problem
from partition_core.base.recording import RecordedSample, Recording
from partition_core.chain.pieces import (
    MODEL_INPUT,
    MODEL_OUTPUT,
    Chain,
    SegmentBoundary,
    Tensor,
)
from partition_core.chain.run import Values, add, feeds_of, initial_values, walk
from partition_core.proof.against_original import DETECTIONS
from partition_core.proof.comparison import (
    Detections,
    agrees,
    difference,
    form,
    is_rounded,
    largest_difference,
    magnitude,
    match_detections,
    relative_l2,
    same_bits,
)

RunTarget = Callable[[Sequence[Arrays]], Sequence[Arrays]]
"""Runs the converted segment on the inputs of each sample."""

_OTHER_INPUTS = "name inputs that differ more in 'proof.inputs' or 'proof.images'"


@dataclass
class _Compared:
    """The tensors of the chain for each sample, all in onnxruntime and with the target in it.

    `expected` and `given` are the outputs of the segment in onnxruntime and in its target, `ends`
    the sources of the outputs of the chain.
    """

    plain: Values
    mixed: Values
    expected: Sequence[Arrays] = ()
    given: Sequence[Arrays] = ()
    ends: dict[str, tuple[str, str]] = field(default_factory=dict)


def compare_target(
    segment: str,
    run: RunTarget,
    chain: Chain,
    recording: Recording,
    agreement: Agreement,
    *,
    detects: bool,
    random: Collection[tuple[str, str]] = (),
    not_run: Collection[str] = (),
    remedy: str = "",
) -> dict[str, Any]:
    """Return the figures of a converted segment, as plain data; raise ProofError if it differs.

    `detects` is whether the outputs of end2end are detections; `random` are pairs of a segment and
    its output that differs between runs, which is not compared; segments in `not_run` cannot be
    run here. `remedy` is what to do about a difference. Samples whose sizes the segment does not
    take prove nothing and are left out.
    """
    if segment in not_run:
        what = "cannot be compared, since onnxruntime lacks an operator of the segment"
        raise ProofError.at("", what, "expected a segment that onnxruntime runs")
    boundary = next(each for each in chain.boundaries if each.save_file == segment)
    compared = _run_both(boundary, run, chain, recording, random, not_run)
    tensors = [each for each in boundary.outputs if (segment, each.name) not in random]
    figures = {tensor.name: _tensor_figures(tensor, compared) for tensor in tensors}
    problems = [
        *_differences(tensors, compared, agreement, remedy),
        *_blind(tensors, compared, agreement),
    ]
    found = _detections(compared, agreement) if detects else {}
    if not problems:
        problems = list(_lost(found, agreement))
    ProofError.refuse(problems)
    return {
        "samples": len(compared.given),
        "tolerance": agreement.relative_l2,
        "tensors": figures,
        **({"kept": agreement.kept, "detections": found} if found else {}),
        "outputs": _output_figures(compared, detects),
    }


def inputs_in_chain(
    segment: str,
    chain: Chain,
    recording: Recording,
    random: Collection[tuple[str, str]] = (),
    not_run: Collection[str] = (),
) -> list[dict[str, Array]]:
    """Return what the chain, all of it in onnxruntime, feeds a segment on each usable sample.

    `random` and `not_run` are as in `compare_target`. Raises ProofError if a segment fails.
    """
    boundaries = [each for each in chain.boundaries if each.save_file not in not_run]
    samples = _usable(recording, boundaries, chain)
    values = initial_values(sample.inputs for sample in samples)
    fed: list[dict[str, Array]] = []
    for boundary, fed in walk(boundaries, _feeds(chain, random), values, _recorded(samples)):
        if boundary.save_file == segment:
            break
        session = Plain(boundary.save_file).load(chain.files[boundary.save_file])
        add(values, boundary, [session(arrays) for arrays in fed])
    return fed


def comparison_line(figures: Mapping[str, Any]) -> str:
    """Return the figures of a comparison as a line for people."""
    apart = max((each["relative_l2"] for each in figures["tensors"].values()), default=0.0)
    line = f"within a relative L2 of {apart:.2g} of onnxruntime on {figures['samples']} samples"
    found = figures.get("detections")
    if not found:
        return line
    return f"{line}; {found['same']} of {found['end2end']} detections are the same"


def _run_both(
    target: SegmentBoundary,
    run: RunTarget,
    chain: Chain,
    recording: Recording,
    random: Collection[tuple[str, str]],
    not_run: Collection[str],
) -> _Compared:
    """Run the chain in onnxruntime, and its segments behind the target on what that gives too."""
    boundaries = [each for each in chain.boundaries if each.save_file not in not_run]
    samples = _usable(recording, boundaries, chain)
    feeds, recorded = _feeds(chain, random), _recorded(samples)
    inputs = [sample.inputs for sample in samples]
    compared = _Compared(initial_values(inputs), initial_values(inputs))
    for boundary in boundaries:
        ((_, fed),) = walk([boundary], feeds, compared.plain, recorded)
        ((_, mixed),) = walk([boundary], feeds, compared.mixed, recorded)
        session = Plain(boundary.save_file).load(chain.files[boundary.save_file])
        results = [session(arrays) for arrays in fed]
        if boundary == target:
            compared.expected, compared.given = results, run(fed)
            ProofError.refuse(_form_problems(target.outputs, compared))  # before they are read
            others = compared.given
        else:
            others = [
                before if _same(arrays, changed) else session(changed)
                for before, arrays, changed in zip(results, fed, mixed, strict=True)
            ]
        add(compared.plain, boundary, results)
        add(compared.mixed, boundary, others)
    made = {(each.save_file, t.name) for each in chain.boundaries for t in each.outputs}
    compared.ends = {
        edge.input: (edge.producer, edge.output)
        for edge in chain.edges
        if edge.consumer == MODEL_OUTPUT
        and (edge.producer, edge.output) in made - set(random)
        and edge.producer not in not_run
    }
    return compared


def _feeds(
    chain: Chain, random: Collection[tuple[str, str]]
) -> dict[str, dict[str, tuple[str, str]]]:
    return feeds_of(each for each in chain.edges if (each.producer, each.output) not in random)


def _recorded(samples: Sequence[RecordedSample]) -> Callable[[int, Tensor], Array]:
    def recorded(number: int, tensor: Tensor) -> Array:
        array: Array = samples[number].marks[tensor.reference]
        return array

    return recorded


def _usable(
    recording: Recording, boundaries: Sequence[SegmentBoundary], chain: Chain
) -> list[RecordedSample]:
    """Return the samples of the sizes that segments have; raises ProofError if there are none."""
    samples = [sample for sample in recording.samples if _fits(sample, boundaries, chain)]
    if not samples:
        what = "no sample has the sizes of all segments"
        raise ProofError.at("", what, "", "write shapes under 'export.inputs' that give them")
    return samples


def _fits(sample: RecordedSample, boundaries: Sequence[SegmentBoundary], chain: Chain) -> bool:
    """Return whether a sample has the sizes that segments fix, as far as they were recorded."""
    given = {
        (edge.consumer, edge.input): sample.inputs[edge.output]
        for edge in chain.edges
        if edge.producer == MODEL_INPUT
    }
    for boundary in boundaries:
        inputs = {t: given.get((boundary.save_file, t.name)) for t in boundary.inputs}
        known = {t: sample.marks.get(t.reference) if a is None else a for t, a in inputs.items()}
        arrays = {tensor: array for tensor, array in known.items() if array is not None}
        sized = replace(boundary, inputs=tuple(arrays))
        if not sized.takes({tensor.name: array for tensor, array in arrays.items()}):
            return False
    return True


def _same(left: Arrays, right: Arrays) -> bool:
    return all(same_bits(array, right[name]) for name, array in left.items())


def _form_problems(tensors: Sequence[Tensor], compared: _Compared) -> Iterator[Problem]:
    for number, (ours, theirs) in enumerate(zip(compared.given, compared.expected, strict=True)):
        for tensor in tensors:
            if tensor.name not in ours:
                names = ", ".join(sorted(ours))
                yield problem("", f"it gives no output '{tensor.name}'", f"it gives {names}")
            elif form(ours[tensor.name]) != form(theirs[tensor.name]):
                what = f"its output '{tensor.name}' has another form for sample {number}"
                yield problem("", what, difference(ours[tensor.name], theirs[tensor.name]))


def _tensor_figures(tensor: Tensor, compared: _Compared) -> dict[str, float]:
    pairs = [
        (ours[tensor.name], theirs[tensor.name])
        for ours, theirs in zip(compared.given, compared.expected, strict=True)
    ]
    return {
        "relative_l2": max(relative_l2(*pair) for pair in pairs),
        "largest_difference": max(largest_difference(*pair) for pair in pairs),
        "largest_value": max(magnitude(theirs) for _, theirs in pairs),
    }


def _differences(
    tensors: Sequence[Tensor], compared: _Compared, agreement: Agreement, remedy: str
) -> Iterator[Problem]:
    for number, (ours, theirs) in enumerate(zip(compared.given, compared.expected, strict=True)):
        for name in (tensor.name for tensor in tensors):
            if not agrees(ours[name], theirs[name], agreement.relative_l2):
                apart = relative_l2(ours[name], theirs[name])
                yield problem(
                    "",
                    f"its output '{name}' differs from onnxruntime's for sample {number}: relative "
                    f"L2 {apart:.3g}, {difference(ours[name], theirs[name])}",
                    f"expected it {agreement}",
                    remedy,
                )


def _blind(
    tensors: Sequence[Tensor], compared: _Compared, agreement: Agreement
) -> Iterator[Problem]:
    """Yield a problem if outputs agree with those of a wrong input too.

    Those are of the next sample of the same sizes, or of the same one shifted by an element.
    """
    for number, ours in enumerate(compared.given):
        wrong, what = _wrong(number, tensors, compared)
        if all(agrees(ours[t.name], wrong[t.name], agreement.relative_l2) for t in tensors):
            text = f"the comparison proves nothing: the outputs for sample {number} agree with"
            yield problem("", f"{text} {what} as well", "", _OTHER_INPUTS)


def _wrong(number: int, tensors: Sequence[Tensor], compared: _Compared) -> tuple[Arrays, str]:
    own = compared.expected[number]
    for other in (*range(number + 1, len(compared.expected)), *range(number)):
        arrays = compared.expected[other]
        if all(form(arrays[t.name]) == form(own[t.name]) for t in tensors):
            return arrays, f"those for sample {other}"
    shifted = {t.name: np.roll(own[t.name], 1) for t in tensors}
    return shifted, "their own values shifted by an element"


def _detections(compared: _Compared, agreement: Agreement) -> dict[str, Any]:
    """Return how many detections of end2end and of the mixed chain are the same, and how far."""
    if any(name not in compared.ends for name in DETECTIONS):
        return {}
    matches, counts = [], []
    for plain, mixed in zip(compared.plain, compared.mixed, strict=True):
        columns = [run[compared.ends[name]] for run in (plain, mixed) for name in DETECTIONS]
        for dets, labels, our_dets, our_labels in zip(*columns, strict=True):
            theirs, ours = Detections.of(dets, labels), Detections.of(our_dets, our_labels)
            matches.append(match_detections(theirs, ours, agreement.boxes, len(theirs)))
            counts.append((len(theirs), len(ours)))
    return {
        "end2end": sum(theirs for theirs, _ in counts),
        "chain": sum(ours for _, ours in counts),
        "same": sum(match.pairs for match in matches),
        "box_difference": max(match.box_difference for match in matches),
        "score_difference": max(match.score_difference for match in matches),
    }


def _lost(found: dict[str, Any], agreement: Agreement) -> Iterator[Problem]:
    if not found:
        return
    for whose, count in (("end2end", found["end2end"]), ("the chain", found["chain"])):
        if found["same"] < agreement.kept * count:
            yield problem(
                "",
                f"{found['same']} of the {count} detections of {whose} are the same when the "
                "segment runs in it",
                f"expected a share of at least {agreement.kept:g}",
                "allow fewer with 'kept' of this target if that is good enough",
            )


def _output_figures(compared: _Compared, detects: bool) -> dict[str, dict[str, float]]:
    """Return how far outputs of the chain are from those of end2end; detections are matched."""
    figures = {}
    for name, end in compared.ends.items():
        if detects and name in DETECTIONS:
            continue
        pairs = [
            (mixed[end], plain[end])
            for plain, mixed in zip(compared.plain, compared.mixed, strict=True)
        ]
        if all(form(ours) == form(theirs) and is_rounded(theirs) for ours, theirs in pairs):
            figures[name] = {"relative_l2": max(relative_l2(*pair) for pair in pairs)}
    return figures
