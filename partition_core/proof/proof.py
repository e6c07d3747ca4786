"""The proof of a build: segments chained = end2end, bit for bit, and end2end = the original.

Both on every sample of the export; refused if the samples would prove nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.arrays import Arrays
from partition_core.base.errors import Problem, ProofError, problem
from partition_core.base.recording import RecordedSample, Recording
from partition_core.chain.pieces import Chain
from partition_core.graph.file.graph import Model
from partition_core.graph.model_inputs import open_batches
from partition_core.proof.against_original import (
    DETECTIONS,
    MASKS,
    PANOPTIC,
    compared_tensors,
    detections,
    most_detections,
    unequal_maps,
)
from partition_core.proof.chained import Unproven, run_chain
from partition_core.proof.comparison import is_rounded, magnitude, same_bits
from partition_core.proof.meaningful import fixed_outputs, meaningless, unchanged
from partition_core.proof.observed import Observed, Whole
from partition_core.proof.random_operators import (
    NOT_DETERMINISTIC,
    REMEDY,
    RandomOperator,
    draw_random_numbers,
    random_operators,
    unseeded,
)
from partition_core.proof.reasons import half_dtype, reasons, rounding_by_marks, tensors_by_name
from partition_core.proof.rounding import RoundingEffect
from partition_core.proof.runnable import Runnable, runnable

PYTORCH = "PyTorch"
ONNX_FILE = "the ONNX file"
END2END = "end2end"
ALLOW = "write `proof: {unproven: allow}` to prove the segments in front of it all the same"
_DRAW_OUTSIDE = "draw the numbers outside the model and take them as an input"
_AS_IT_IS = "end2end as it is"
_OBSERVED = "end2end, with its marks as outputs,"


def prove(
    end2end: Path,
    model: Model,
    chain: Chain,
    recording: Recording,
    *,
    tolerance: float,
    detects: bool,
    scratch: Path,
    assumptions: Sequence[Mapping[str, Any]] = (),
    allows_unproven: bool = False,
    static: Collection[str] = (),
) -> dict[str, Any]:
    """Return the figures of the proof, as plain data; raise ProofError if it fails.

    `model` is the graph of the file `end2end`; `tolerance` is relative to each tensor's largest
    magnitude; `detects` is whether the outputs are `dets`, `labels` and perhaps `masks`; `scratch`
    is an empty folder. `assumptions` are the answers of a user that the model depends on
    (`questions.Decision`, as plain data). Segments in `static` have sizes that end2end leaves free,
    and are proven on the samples that have them. A sample that has a kind need prove nothing else.

    Random tensors are not compared, but reported: `not_compared` are outputs and marks of end2end,
    `unproven` outputs of segments, and `recorded` the inputs of segments that were taken from
    end2end instead. A partition of which nothing can be proven is refused.

    If it `allows_unproven`, what needs an operator that onnxruntime lacks is left out, as `not_run`
    reports, and outputs that say nothing refuse nothing else: they are `vacuous`.
    """
    is_traced = recording.is_traced
    against = PYTORCH if is_traced else ONNX_FILE
    inputs = [original.inputs for original in recording.samples]
    part, observed, wholes = _observed(end2end, model, inputs, scratch, allows_unproven)
    originals = [_of_part(original, observed) for original in recording.samples]
    not_run = _not_run(model, chain, part, wholes[0])
    chain = _runnable_chain(chain, not_run["segments"])
    varying = frozenset(name for original in originals for name in original.mark_changes)
    rounding = functools.partial(rounding_by_marks, model)
    chained = run_chain(chain, wholes, inputs, varying, rounding, scratch, static=static)
    operators = random_operators(model)
    random = _random(originals, tolerance)
    chooses = detects or PANOPTIC in wholes[0].outputs
    matched = frozenset({*observed.chosen, *DETECTIONS, MASKS, PANOPTIC} if chooses else ())
    remedy = "" if is_traced else "name other inputs in 'proof.inputs'"
    quiet = _DRAW_OUTSIDE if is_traced else REMEDY
    # After a trace an output that no input reaches may be a mistake of the trace.
    fixed: frozenset[str] = frozenset() if is_traced else fixed_outputs(model)
    known = reasons(model, operators, quiet)
    effect = RoundingEffect(observed, part.model, inputs, wholes, scratch)
    reason = functools.partial(_reason, known, effect)
    judge = _Judge(
        tolerance,
        detects,
        most_detections(originals) if detects else 0,
        bool(half_dtype(model)),
        matched,
        random,
        against,
        functools.partial(reason, 0),
    )
    problems = [*chained.problems, *_unexplained(model, operators, random, against)]
    vacuous: list[Problem] = []
    samples = []
    for number, (whole, original) in enumerate(zip(wholes, originals, strict=True)):
        kind = original.kind
        sample = f"{number} ({kind})" if kind else str(number)
        differences: list[Problem] = []
        judge = replace(judge, reason=functools.partial(reason, number))
        figures = judge.figures(sample, whole, original, differences)
        problems += [_refuting(difference, assumptions) for difference in differences]
        if not kind:
            vacuous += meaningless(sample, whole, original, detects, fixed, remedy)
        samples.append({**figures, "nms": whole.suppressions, **({"kind": kind} if kind else {})})
    varying = frozenset(name for original in originals for name in original.output_changes)
    proven = sum(len(boundary.outputs) for boundary in chain.boundaries) - len(chained.unproven)
    if proven or chained.problems:
        vacuous += unchanged(originals, varying, fixed, chained.moves, remedy)
    elif not problems and not not_run["segments"]:
        problems += _nothing_proven(chained.unproven, quiet)
    if not (allows_unproven and chained.moves):
        problems += [_allowable(each) for each in vacuous]
    ProofError.refuse(problems)
    batches = _batches(model, originals)
    return {
        "samples": samples,
        **({"batches": batches} if batches else {}),
        **({"static": chained.static} if chained.static else {}),
        "against": against,
        "tolerance": tolerance,
        "tensors": proven,
        "given_by_end2end": [
            f"{edge.consumer}: {edge.input}" for edge in chain.edges if not edge.producer
        ],
        "matched_as_detections": sorted(matched),
        "random_operators": [str(operator) for operator in operators if not operator.seeded],
        "not_compared": {
            "outputs": [value.name for value in model.graph.outputs if value.name in random],
            "marks": [name for name in observed.marks if name in random],
        },
        "assumptions": list(assumptions),
        "unproven": [asdict(output) for output in chained.unproven],
        "recorded": chained.recorded,
        "not_run": not_run,
        "vacuous": [f"{each.place.path}: {each.what}" for each in vacuous],
    }


def _observed(
    end2end: Path, model: Model, inputs: Sequence[Arrays], scratch: Path, allows_unproven: bool
) -> tuple[Runnable, Observed, list[Whole]]:
    """Run end2end, or the part of it that onnxruntime has all operators for."""
    whole = Runnable(end2end, model)
    if allows_unproven:
        whole = runnable(whole, lambda part: Plain(END2END).load(part.file), scratch)
    observed = Observed.of(whole.file, whole.model)
    return whole, observed, observed.runs(inputs, scratch)


def _of_part(original: RecordedSample, observed: Observed) -> RecordedSample:
    """Return what was recorded of the tensors that end2end, or a part of it, gives."""
    outputs = {name: array for name, array in original.outputs.items() if name in observed.outputs}
    return original if len(outputs) == len(original.outputs) else replace(original, outputs=outputs)


def _not_run(model: Model, chain: Chain, part: Runnable, whole: Whole) -> dict[str, list[str]]:
    """Return the operators that onnxruntime lacks, and what cannot be computed without them.

    Raises ProofError if that is every segment.
    """
    given = {value.name for value in part.model.graph.outputs}
    segments = [
        boundary.save_file
        for boundary in chain.boundaries
        if not all(t.reference in whole.marks for t in (*boundary.inputs, *boundary.outputs))
    ]
    if part.missing and len(segments) == len(chain.boundaries):
        what = f"every segment needs an operator that onnxruntime lacks: {', '.join(part.missing)}"
        raise ProofError.at("proof", what, "expected a segment in front of it that can be proven")
    return {
        "operators": list(part.missing),
        "segments": segments if part.missing else [],
        "outputs": [v.name for v in model.graph.outputs if v.name not in given],
    }


def _runnable_chain(chain: Chain, left_out: Sequence[str]) -> Chain:
    boundaries = [each for each in chain.boundaries if each.save_file not in left_out]
    return replace(chain, boundaries=boundaries) if left_out else chain


def _allowable(vacuous: Problem) -> Problem:
    return vacuous if vacuous.remedy else replace(vacuous, remedy=ALLOW)


def _batches(model: Model, samples: Sequence[RecordedSample]) -> list[int]:
    """Return the sizes that dims 0 of inputs had which are not fixed."""
    names = open_batches(model)
    return sorted({len(sample.inputs[name]) for sample in samples for name in names})


@dataclass(frozen=True)
class _Judge:
    """Compares end2end with the original, which messages call `against`.

    Tensors that are `matched` as detections, or `random`, are not compared one by one.
    """

    tolerance: float
    detects: bool
    limit: int
    is_half: bool
    matched: frozenset[str]
    random: frozenset[str]
    against: str
    reason: Callable[[str, float | None], str]

    def figures(
        self, sample: str, whole: Whole, original: RecordedSample, problems: list[Problem]
    ) -> dict[str, Any]:
        """Return the figures of a sample, with the outputs of the unchanged model.

        Where the model with its marks as outputs, which the segments equal, gives other bits,
        `observed` has the figures of those, and in `changes` how much they differ.
        """
        if all(same_bits(array, whole.plain[name]) for name, array in whole.outputs.items()):
            return self._compared(sample, whole, original, END2END, problems)
        as_it_is = replace(whole, outputs=whole.plain, marks={})
        figures = self._compared(sample, as_it_is, original, END2END, problems)
        observed = self._compared(sample, whole, original, _OBSERVED, problems)
        figures["marks"] = observed.pop("marks")
        observed["changes"] = self._changes(sample, whole, problems)
        return {**figures, "observed": observed}

    def _changes(self, sample: str, whole: Whole, problems: list[Problem]) -> dict[str, Any]:
        own = RecordedSample(inputs={}, marks={}, outputs=whole.plain)
        # What is not random is compared with the original, which says more.
        steady, names = frozenset(whole.outputs) - self.random, (_OBSERVED, _AS_IT_IS)
        reported = self._against(sample, whole, own, self.random, names, [])
        judged = self._against(sample, whole, own, steady, names, problems)
        return {**reported["outputs"], **judged["outputs"]}

    def _compared(
        self,
        sample: str,
        whole: Whole,
        original: RecordedSample,
        called: str,
        problems: list[Problem],
    ) -> dict[str, Any]:
        names = (called, self.against)
        figures = self._against(sample, whole, original, self.random, names, problems)
        if self.detects:
            figures["detections"] = detections(
                sample, whole, original, self.tolerance, self.limit, self.is_half, problems
            )
        problems += unequal_maps(sample, whole, original, self.tolerance)
        return figures

    def _against(
        self,
        sample: str,
        whole: Whole,
        original: RecordedSample,
        left_out: frozenset[str],
        names: tuple[str, str],
        problems: list[Problem],
    ) -> dict[str, Any]:
        out = self.matched | left_out
        return compared_tensors(
            sample, whole, original, self.tolerance, out, names, self.reason, problems
        )


def _reason(
    known: Callable[[str], str],
    effect: RoundingEffect,
    sample: int,
    name: str,
    largest: float | None,
) -> str:
    """Return why a tensor may differ by `largest` in a sample, None if that is no rounding."""
    return known(name) or ("" if largest is None else effect.explanation(sample, name, largest))


def _random(samples: Sequence[RecordedSample], tolerance: float) -> frozenset[str]:
    """Return the outputs and mark references that differ between runs by more than allowed."""
    return frozenset(
        name
        for run in samples
        for arrays, changes in ((run.outputs, run.output_changes), (run.marks, run.mark_changes))
        for name, apart in changes.items()
        if apart > (tolerance * magnitude(arrays[name]) if is_rounded(arrays[name]) else 0.0)
    )


def _refuting(difference: Problem, assumptions: Sequence[Mapping[str, Any]]) -> Problem:
    if not assumptions:
        return difference
    lines = ", ".join(each["source"] for each in assumptions)
    answer = "the answer" if len(assumptions) == 1 else "one of the answers"
    what = f"{answer} for {lines} in 'export.answers' does not hold for this input"
    return replace(difference, remedy=what)


def _unexplained(
    model: Model, operators: Sequence[RandomOperator], random: frozenset[str], against: str
) -> Iterator[Problem]:
    values = tensors_by_name(model)
    for name in sorted(random & values.keys()):
        if not unseeded(model, operators, [values[name]]):
            what = f"{against} computes different values in each run"
            yield problem(f"'{name}'", what, NOT_DETERMINISTIC)


def _nothing_proven(unproven: Sequence[Unproven], quiet: str) -> Iterator[Problem]:
    for output in unproven:
        yield problem(
            f"segment '{output.segment}'",
            f"its output '{output.output}' differs between runs, since "
            f"{draw_random_numbers(output.operators)}, and every output of the segments does",
            "expected a segment with an output that can be compared",
            f"{quiet}, or put the random part into a segment of its own",
        )
