"""The segments of a partition, run one after the other as their edges say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.cutting.boundaries import MODEL_INPUT, Edge, SegmentBoundary
from partition_core.errors import Problem, problem
from partition_core.proving.comparison import Array, difference, same_bits
from partition_core.proving.observed import Arrays, Whole
from partition_core.proving.sessions import Session


@dataclass(frozen=True)
class Chain:
    """The segments of a partition as files, in their order, and how tensors go between them."""

    files: Mapping[str, Path]
    boundaries: Sequence[SegmentBoundary]
    edges: Sequence[Edge]


def unequal_segments(
    chain: Chain, wholes: Sequence[Whole], inputs: Sequence[Arrays]
) -> list[Problem]:
    """Run the segments in order; return the problems of the first one that differs from end2end.

    `wholes` are what end2end gave for the samples `inputs`. An input that no segment gives (a
    gap of the recipe) comes from there. One segment at a time is in memory.
    """
    made: list[dict[tuple[str, str], Array]] = [
        {(MODEL_INPUT, name): array for name, array in sample.items()} for sample in inputs
    ]
    for boundary in chain.boundaries:
        session = Session(chain.files[boundary.save_file], boundary.save_file)
        problems: list[Problem] = []
        for number, (known, whole) in enumerate(zip(made, wholes, strict=True)):
            given = session.run(_fed(chain, boundary, known, whole))
            problems += _wrong(boundary, number, given, whole)
            known.update(((boundary.save_file, name), array) for name, array in given.items())
        if problems:
            return problems
    return []


def _fed(
    chain: Chain, boundary: SegmentBoundary, made: Mapping[tuple[str, str], Array], whole: Whole
) -> dict[str, Array]:
    source = {
        edge.input: made[edge.producer, edge.output]
        for edge in chain.edges
        if edge.consumer == boundary.save_file and edge.producer
    }
    return {t.name: source.get(t.name, whole.marks[t.reference]) for t in boundary.inputs}


def _wrong(boundary: SegmentBoundary, number: int, given: Arrays, whole: Whole) -> list[Problem]:
    return [
        problem(
            f"segment '{boundary.save_file}'",
            f"its output '{tensor.name}' is not what end2end computes for sample {number}",
            f"expected '{tensor.reference}' bit for bit; {difference(ours, theirs)}",
        )
        for tensor in boundary.outputs
        for ours, theirs in [(given[tensor.name], whole.marks[tensor.reference])]
        if not same_bits(ours, theirs)
    ]
