"""The walk along the segments of a chain: what enters each of them, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from partition_core.chain.pieces import MODEL_INPUT, MODEL_OUTPUT, Edge, SegmentBoundary, Tensor

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
Source = tuple[str, str]
"""A segment and its output; `MODEL_INPUT` and the name of a tensor that is given."""


def feeds_of(edges: Iterable[Edge]) -> dict[str, dict[str, Source]]:
    """Return where each segment takes its inputs from, by their names; gaps are left out."""
    feeds: dict[str, dict[str, Source]] = {}
    for edge in edges:
        if edge.producer and edge.consumer != MODEL_OUTPUT:
            feeds.setdefault(edge.consumer, {})[edge.input] = (edge.producer, edge.output)
    return feeds


def run_segments(
    segments: Iterable[SegmentBoundary],
    feeds: Mapping[str, Mapping[str, Source]],
    samples: Sequence[Arrays],
    run: Callable[[SegmentBoundary, Sequence[Arrays]], Sequence[Arrays]],
    lent: Callable[[int, Tensor], Array] | None = None,
) -> Iterator[tuple[SegmentBoundary, Sequence[Arrays], Sequence[Arrays]]]:
    """Run the segments in their order on some samples; yield each with what it took and gave.

    `feeds` tells where a segment takes its inputs from, and `samples` has what `MODEL_INPUT` gives.
    `run` runs a segment on what enters it for each sample and returns what goes on of its outputs.
    `lent` returns, for the number of a sample, an input that none of these gives.
    """
    made: list[dict[Source, Array]] = [
        {(MODEL_INPUT, name): array for name, array in sample.items()} for sample in samples
    ]
    for segment in segments:
        sources = feeds.get(segment.save_file, {})
        fed = [
            {name: known[source] for name, source in sources.items() if source in known}
            for known in made
        ]
        for number, taken in enumerate(fed):
            if lent is not None:
                lacking = [one for one in segment.inputs if one.name not in taken]
                taken.update((tensor.name, lent(number, tensor)) for tensor in lacking)
        given = run(segment, fed)
        yield segment, fed, given
        for known, outputs in zip(made, given, strict=True):
            known.update(((segment.save_file, name), array) for name, array in outputs.items())
