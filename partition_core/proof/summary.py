"""The proof in one line, from its figures; must not run anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from partition_core.base.wording import counted
from partition_core.proof.random_operators import REMEDY, draw_random_numbers


def summary(figures: Mapping[str, Any], uncovered: int = 0, zero_or_one: Sequence[str] = ()) -> str:
    """Return the figures of a proof (`proof.prove`) in one line: what was proven, how exactly.

    `uncovered` is the number of nodes of end2end that no segment runs, `zero_or_one` are the
    integer inputs whose elements were only these. Random tensors, which are not proven, are named,
    and so are segments proven on recorded tensors instead of those of a random segment.
    """
    pictures = [match for sample in figures["samples"] for match in sample.get("detections", [])]
    is_steady = not (figures.get("unproven") or any(figures.get("not_compared", {}).values()))
    left_out = left_out_of_the_proof(figures)
    is_whole = is_steady and not left_out
    remedy = left_out if is_steady else f"{left_out}; to prove all, {REMEDY}"
    return (
        f"{'' if is_whole else 'partly '}proven on {counted(len(figures['samples']), 'input')}"
        f"{_batches(figures.get('batches', []))}: "
        f"{_segments(figures, uncovered)}{', ' if is_steady else '; '}{_against(figures)}"
        f"{_static(figures)}{_detections(pictures)}{_assumptions(figures)}{_untried(zero_or_one)}{remedy}"
    )


def _batches(sizes: Sequence[int]) -> str:
    *first, last = map(str, sizes or [0])
    listed_sizes = f"{', '.join(first)} and {last}" if first else last
    return f", at batch {listed_sizes}" if sizes else ""


def _static(figures: Mapping[str, Any]) -> str:
    runs = figures.get("static", {})
    texts = [f"; {file}, whose sizes are fixed, on {count} of them" for file, count in runs.items()]
    return "".join(texts)


def unproven_segments(figures: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the outputs that are random, and so not proven, by segment."""
    outputs: dict[str, list[str]] = {}
    for unproven in figures.get("unproven", []):
        outputs.setdefault(unproven["segment"], []).append(unproven["output"])
    return outputs


def recorded_inputs(figures: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the inputs that were taken from end2end, as their producer is random, by segment."""
    inputs: dict[str, list[str]] = {}
    for recorded in figures.get("recorded", []):
        segment, _, name = recorded.partition(": ")
        inputs.setdefault(segment, []).append(name)
    return inputs


def listed(tensors: Mapping[str, list[str]]) -> str:
    """Return tensors by segment in words: `a.onnx (x, y) and b.onnx (z)`."""
    return " and ".join(f"{segment} ({', '.join(names)})" for segment, names in tensors.items())


def left_out_of_the_proof(figures: Mapping[str, Any]) -> str:
    """Return what is unproven by `proof.unproven`: what could not run, and what says nothing."""
    not_run: Mapping[str, Sequence[str]] = figures.get("not_run", {})
    names = [*not_run.get("segments", ()), *(f"output '{n}'" for n in not_run.get("outputs", ()))]
    text = ""
    if operators := not_run.get("operators"):
        text += f"; unproven: {', '.join(names)}, as onnxruntime lacks {', '.join(operators)}"
    if vacuous := figures.get("vacuous"):
        text += f"; unproven: {', '.join(vacuous)}"
    return text


def _segments(figures: Mapping[str, Any], uncovered: int) -> str:
    gap_inputs = figures["given_by_end2end"]
    gaps = f", {counted(len(gap_inputs), 'input')} taken from end2end" if gap_inputs else ""
    gaps += f", {counted(uncovered, 'node')} in no segment" if uncovered else ""
    equal = (
        f"equal end2end bit for bit ({counted(figures['tensors'], 'boundary tensor')}{gaps})"
        f"{_rounding(figures['samples'])}"
    )
    unproven = unproven_segments(figures)
    if not unproven:
        return f"the segments in a chain {equal}"
    drawing = dict.fromkeys(name for output in figures["unproven"] for name in output["operators"])
    recorded = recorded_inputs(figures)
    parts = f", {listed(recorded)} on tensors recorded from end2end" if recorded else ""
    return (
        f"the segments {equal}{parts}, but not {listed(unproven)}, since "
        f"{draw_random_numbers(list(drawing))}"
    )


def _assumptions(figures: Mapping[str, Any]) -> str:
    """Return what the proof assumes by a user's answers, and how many inputs tried to refute it."""
    stated = [
        f"{each['source']} ('{each['code']}') is always {'true' if each['answer'] else 'false'}"
        for each in figures.get("assumptions", [])
    ]
    if not stated:
        return ""
    tried = sum("kind" in sample for sample in figures["samples"])
    return (
        f"; assuming {' and '.join(stated)}, by 'export.answers'; none of "
        f"{counted(tried, 'input')} of other kinds refutes it"
    )


def _untried(inputs: Sequence[str]) -> str:
    if not inputs:
        return ""
    names = " and ".join(f"'{name}'" for name in inputs)
    places = " and ".join(f"export.inputs.{name}" for name in inputs)
    return f"; {names} drawn only from 0 and 1, as no range is known: write 'range' in {places}"


def _rounding(samples: Sequence[Mapping[str, Any]]) -> str:
    observed = [sample["observed"] for sample in samples if "observed" in sample]
    if not observed:
        return ""
    largest = max(
        (change["largest_difference"] for run in observed for change in run["changes"].values()),
        default=0.0,
    )
    change = f"it by up to {largest:.1e}" if largest else "its rounding"
    return f" when it gives its marks as outputs, which changes {change}"


def _against(figures: Mapping[str, Any]) -> str:
    against = figures.get("against", "PyTorch")
    random = _left_out(figures.get("not_compared", {}))
    differences = _differences(figures["samples"])
    if random and not differences:
        return f"end2end could not be compared with {against}, where everything is random: {random}"
    return (
        f"end2end equals {against} within {max(differences, default=0.0):.1e} of each tensor's "
        f"largest value{f', except for what is random there: {random}' if random else ''}"
    )


def _left_out(names: Mapping[str, Sequence[str]]) -> str:
    parts = [f"output '{name}'" for name in names.get("outputs", [])]
    return ", ".join(
        [*parts, *([counted(len(names["marks"]), "mark")] if names.get("marks") else [])]
    )


def _differences(samples: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the differences of all tensors, each relative to its tensor's largest value.

    This includes the outputs of end2end with its marks as outputs, where onnxruntime rounds
    differently: the segments equal these.
    """
    runs = [run for sample in samples for run in (sample, sample.get("observed", {}))]
    pairs = [
        (tensor["largest_difference"], tensor["largest_value"])
        for run in runs
        for kind in ("marks", "outputs")
        for tensor in run.get(kind, {}).values()
    ]
    pairs += [
        (picture[f"{what}_difference"], picture[f"largest_{scale}"])
        for run in runs
        for picture in run.get("detections", [])
        for what, scale in (("box", "coordinate"), ("score", "score"))
    ]
    return [difference / (scale or 1.0) for difference, scale in pairs]


def _detections(pictures: list[Mapping[str, Any]]) -> str:
    if not pictures:
        return ""
    equal = ", ".join(str(picture["pairs"]) for picture in pictures)
    counts = {
        what: sum(picture[key] for picture in pictures)
        for key, what in (("moved", "in another place"), ("cut", "replaced at the end"))
    }
    ties = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
    notes = [f"{ties} by a tie"] if ties else []
    if rounded := sum(picture["rounded"] for picture in pictures):
        notes.append(f"{rounded} in one of the two only, as 16 bits change what is kept")
    return f"; detections equal to PyTorch's: {equal}" + (f" ({', '.join(notes)})" * bool(notes))
