"""The proof, tensor by tensor: what crosses, and how the chain and PyTorch compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from partition_core.base.arrays import Arrays
from partition_core.base.wording import counted, size_text
from partition_core.proof.comparison import form, largest_difference, same_bits
from partition_core.proof.summary import (
    left_out_of_the_proof,
    listed,
    recorded_inputs,
    unproven_segments,
)
from partition_core.report.crossings import Crossing
from partition_core.report.figures import MatchRow, TensorRow, dims_text
from partition_core.report.source import Source


def size_of(crossing: Crossing) -> str:
    """Return the bytes of a tensor in words; a star marks a tensor with a dynamic dim."""
    if crossing.size is None:
        return "varies"
    star = "*" if any(isinstance(dim, str) for dim in crossing.dims) else ""
    return f"{size_text(crossing.size)}{star}"


def path(crossing: Crossing) -> str:
    """Return the segments that a tensor leaves and enters, as text."""
    leaves = " and ".join(crossing.leaves) or "no segment"
    return f"{leaves} → {' and '.join(crossing.enters) or 'nowhere'}"


def tensor_rows(source: Source) -> Iterator[TensorRow]:
    """Yield a row for each tensor at a border."""
    proof = source.proven["proof"]
    matched = set(proof["matched_as_detections"])
    not_run = proof["not_run"]["segments"]
    unproven = {output["reference"] for output in proof["unproven"]}
    producers = {
        tensor["reference"]: segment["save_file"]
        for segment in source.proven["segments"]
        for tensor in segment["outputs"]
        if tensor["reference"] not in unproven and segment["save_file"] not in not_run
    }
    recorded = recorded_inputs(proof)
    for crossing in source.overview.crossings:
        marks = set(crossing.marks)
        sources = {producers[mark] for mark in marks if mark in producers}
        exact = bool(sources)
        on_recorded = exact and sources <= recorded.keys()
        equal = f"bit for bit{', on recorded tensors' if on_recorded else ''}"
        otherwise = "random, not proven" if unproven & marks else "not an output of a segment"
        yield TensorRow(
            name=" = ".join(crossing.names),
            mark=", ".join(crossing.marks),
            path=path(crossing),
            type=f"{crossing.dtype} {dims_text(crossing.dims)}",
            size=size_of(crossing),
            exact=exact,
            chain=equal if exact else otherwise,
            eager=_against_eager(crossing, proof, matched),
        )


def _against_eager(crossing: Crossing, proof: Mapping[str, Any], matched: set[str]) -> str:
    names = (*crossing.marks, *crossing.names)
    if matched & set(names):
        return "matched as detections, below"
    if {*proof["not_compared"]["outputs"], *proof["not_compared"]["marks"]} & set(names):
        return "random, not compared"
    comparisons = [
        run[kind][name]
        for sample in proof["samples"]
        for run in (sample, sample.get("observed", {}))
        for kind in ("marks", "outputs")
        for name in names
        if name in run.get(kind, {})
    ]
    if not comparisons:
        return "not compared"
    largest = max(figures["largest_difference"] for figures in comparisons)
    scale = max(figures["largest_value"] for figures in comparisons)
    return "no difference" if largest == 0 else f"at most {largest:.2g} of values up to {scale:.3g}"


def proof_note(source: Source) -> str:
    """Return what the two comparisons mean."""
    proof = source.proven["proof"]
    gap_inputs = proof["given_by_end2end"]
    gaps = (
        f" Taken from end2end, as no segment outputs them: {', '.join(gap_inputs)}."
        if gap_inputs
        else ""
    )
    count = counted(len(proof["samples"]), "input")
    return (
        f"Proven on {count} with onnxruntime's optimizations off; "
        f"end2end may differ from {proof['against']} by {proof['tolerance']:g} of each tensor's "
        f"largest value. Sizes with a star vary; those of the first sample are shown."
        f"{gaps}{_random(proof)}{_left_out(proof)}"
    )


def _left_out(proof: Mapping[str, Any]) -> str:
    text = left_out_of_the_proof(proof).removeprefix("; ").replace("; ", ". ")
    return f" {text[:1].upper()}{text[1:]}." if text else ""


def _random(proof: Mapping[str, Any]) -> str:
    if not proof["random_operators"]:
        return ""
    note = f" Random operators: {', '.join(proof['random_operators'])}."
    if unproven := unproven_segments(proof):
        note += f" Not proven for that reason: {listed(unproven)}."
    if recorded := recorded_inputs(proof):
        note += f" Proven on boundary tensors recorded from end2end: {listed(recorded)}."
    return note


def match_rows(source: Source) -> Iterator[MatchRow]:
    """Yield how the detections of each picture compare; none for a model that does not detect."""
    for number, sample in enumerate(source.proven["proof"]["samples"], 1):
        kept = ", ".join(f"{n['candidates']} → {n['kept']}" for n in sample.get("nms", []))
        pictures = sample.get("detections", [])
        for index, match in enumerate(pictures, 1):
            name = f"picture {number}" if len(pictures) == 1 else f"picture {number}.{index}"
            columns = (
                ("PyTorch", str(match["pytorch"])),
                ("end2end", str(match["end2end"])),
                ("Equal", str(match["pairs"])),
                ("Moved by a tie", str(match["moved"])),
                ("Largest box difference", f"{match['box_difference']:.2g} px"),
                ("Largest score difference", f"{match['score_difference']:.2g}"),
                ("NMS", f"{kept} boxes" if kept else "none"),
            )
            yield MatchRow(name, columns)


def optimized_note(source: Source) -> str:
    """Return how the chain compares with end2end as both are deployed, with optimizations on."""
    figures = source.figures
    pairs = list(zip(figures.whole, figures.chained, strict=True)) if figures.chained else []
    random = set(source.proven["proof"]["not_compared"]["outputs"])
    differences = [_difference(whole, chained, random) for whole, chained in pairs]
    if not differences:
        return ""
    return (
        "With onnxruntime's optimizations on, as on this page's pictures and times, "
        f"{' and '.join(dict.fromkeys(differences))}."
    )


def _difference(whole: Arrays, chained: Arrays, random: set[str]) -> str:
    shared = [name for name in whole if name in chained]
    if not shared:
        return "the segments compute none of the model's outputs"
    both = [name for name in shared if name not in random]
    if not both:
        return "the outputs are random"
    if any(form(whole[name]) != form(chained[name]) for name in both):
        return "the chain's outputs have other shapes than end2end's"
    if all(same_bits(whole[name], chained[name]) for name in both):
        return "the chain still equals end2end bit for bit"
    largest = max(largest_difference(whole[name], chained[name]) for name in both)
    return f"the chain differs from end2end by up to {largest:.2g}"
