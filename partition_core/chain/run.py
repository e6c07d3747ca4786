"""The walk along the segments of a chain, with the inputs of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from partition_core.base.arrays import Array, Arrays
from partition_core.chain.pieces import MODEL_INPUT, MODEL_OUTPUT, Edge, SegmentBoundary, Tensor

Source = tuple[str, str]
"""A segment and its output, or `MODEL_INPUT` and the name of an input."""
Values = list[dict[Source, Array]]
"""For each sample, the tensors that are known so far."""


def feeds_of(edges: Iterable[Edge]) -> dict[str, dict[str, Source]]:
    """Return the source of each input of each segment, without gaps."""
    feeds: dict[str, dict[str, Source]] = {}
    for edge in edges:
        if edge.producer and edge.consumer != MODEL_OUTPUT:
            feeds.setdefault(edge.consumer, {})[edge.input] = (edge.producer, edge.output)
    return feeds


def initial_values(samples: Iterable[Arrays]) -> Values:
    """Return the values before the first segment runs: the inputs of end2end."""
    return [{(MODEL_INPUT, name): array for name, array in inputs.items()} for inputs in samples]


def add(values: Values, segment: SegmentBoundary, results: Sequence[Arrays]) -> None:
    """Add the outputs of a segment, one mapping for each sample, to `values`."""
    for known, outputs in zip(values, results, strict=True):
        known.update(((segment.save_file, name), array) for name, array in outputs.items())


def walk(
    segments: Iterable[SegmentBoundary],
    feeds: Mapping[str, Mapping[str, Source]],
    values: Values,
    fallback: Callable[[int, Tensor], Array] | None = None,
) -> Iterator[tuple[SegmentBoundary, list[dict[str, Array]]]]:
    """Yield the segments in order, each with its inputs for each sample.

    `feeds` has their sources; the caller runs a segment and adds its outputs to `values`.
    `fallback` returns, for the index of a sample, an input without a known value.
    """
    for segment in segments:
        sources = feeds.get(segment.save_file, {})
        inputs = [
            {name: known[source] for name, source in sources.items() if source in known}
            for known in values
        ]
        if fallback is not None:
            for index, arrays in enumerate(inputs):
                missing = [tensor for tensor in segment.inputs if tensor.name not in arrays]
                arrays.update((tensor.name, fallback(index, tensor)) for tensor in missing)
        yield segment, inputs
