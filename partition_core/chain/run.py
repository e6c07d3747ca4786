"""The walk along the segments of a chain: what enters each of them, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from partition_core.base.arrays import Array, Arrays
from partition_core.chain.pieces import MODEL_INPUT, MODEL_OUTPUT, Edge, SegmentBoundary, Tensor

Source = tuple[str, str]
"""A segment and its output; `MODEL_INPUT` and the name of a tensor that is given."""
Made = list[dict[Source, Array]]
"""What is known of each sample, while the segments run."""


def feeds_of(edges: Iterable[Edge]) -> dict[str, dict[str, Source]]:
    """Return where each segment takes its inputs from, by their names; gaps are left out."""
    feeds: dict[str, dict[str, Source]] = {}
    for edge in edges:
        if edge.producer and edge.consumer != MODEL_OUTPUT:
            feeds.setdefault(edge.consumer, {})[edge.input] = (edge.producer, edge.output)
    return feeds


def made_of(samples: Iterable[Arrays]) -> Made:
    """Return what is known of samples before the first segment: the inputs of end2end."""
    return [{(MODEL_INPUT, name): array for name, array in one.items()} for one in samples]


def add(made: Made, segment: SegmentBoundary, given: Sequence[Arrays]) -> None:
    """Let those behind a segment know what it gave for each sample."""
    for known, outputs in zip(made, given, strict=True):
        known.update(((segment.save_file, name), array) for name, array in outputs.items())


def walk(
    segments: Iterable[SegmentBoundary],
    feeds: Mapping[str, Mapping[str, Source]],
    made: Made,
    lent: Callable[[int, Tensor], Array] | None = None,
) -> Iterator[tuple[SegmentBoundary, list[dict[str, Array]]]]:
    """Yield the segments in their order, each with what enters it for each sample.

    `feeds` tells where that comes from; whoever runs a segment adds what it gave to `made`. `lent`
    returns, for the number of a sample, an input of which nothing is known.
    """
    for segment in segments:
        sources = feeds.get(segment.save_file, {})
        fed = [
            {name: known[source] for name, source in sources.items() if source in known}
            for known in made
        ]
        if lent is not None:
            for number, taken in enumerate(fed):
                lacking = [tensor for tensor in segment.inputs if tensor.name not in taken]
                taken.update((tensor.name, lent(number, tensor)) for tensor in lacking)
        yield segment, fed
