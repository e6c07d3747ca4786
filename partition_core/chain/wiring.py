"""Which tensor goes where in a chain of segments, from the edges of a manifest; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from partition_core.chain.manifest import Manifest
from partition_core.chain.pieces import MODEL_INPUT, MODEL_OUTPUT, Tensor
from partition_core.chain.run import Source, feeds_of


@dataclass(frozen=True)
class Wiring:
    """The inputs of a chain, where each segment takes its own from, and its outputs.

    `feeds` has, for each segment, its inputs by name; `outputs` the tensors of the result, by the
    name of an output of end2end or, if nothing else reads it, of a segment. `gaps` tells which
    inputs no segment gives although end2end computes them, and who needs them.
    """

    inputs: tuple[Tensor, ...]
    feeds: Mapping[str, Mapping[str, Source]]
    outputs: Mapping[str, tuple[Source, Tensor]]
    gaps: Mapping[str, str]


def wiring(manifest: Manifest) -> Wiring:
    """Return how the segments of a build are connected.

    An input that no segment gives is called as the segment calls it, or `segment: name` where two
    different tensors would have one name; so is an output that nothing reads.
    """
    segments = manifest.segments
    taken = {(one.save_file, tensor.name): tensor for one in segments for tensor in one.inputs}
    given = {(one.save_file, tensor.name): tensor for one in segments for tensor in one.outputs}
    feeds = feeds_of(manifest.edges)
    inputs: dict[str, Tensor] = {}
    gaps: dict[str, str] = {}
    lacking = {taken[e.consumer, e.input] for e in manifest.edges if not e.producer}
    clashing = _repeated([*{(one.reference, one.name) for one in lacking}], manifest.inputs)
    for edge in manifest.edges:
        if edge.producer not in ("", MODEL_INPUT):
            continue
        name = edge.output or edge.input
        if not edge.producer:
            name = f"{edge.consumer}: {name}" if name in clashing else name
            gaps.setdefault(name, edge.consumer)
            feeds.setdefault(edge.consumer, {})[edge.input] = (MODEL_INPUT, name)
        inputs.setdefault(name, replace(taken[edge.consumer, edge.input], name=name))
    return Wiring(tuple(inputs.values()), feeds, _outputs(manifest, given), gaps)


def _outputs(
    manifest: Manifest, given: Mapping[Source, Tensor]
) -> dict[str, tuple[Source, Tensor]]:
    found: dict[str, tuple[Source, Tensor]] = {}
    for edge in manifest.edges:
        if edge.consumer == MODEL_OUTPUT:
            source = (edge.producer, edge.output)
            found[edge.input] = (source, given[source])
    read = {(edge.producer, edge.output) for edge in manifest.edges}
    unread = [source for source in given if source not in read]
    clashing = _repeated(unread, tuple(found))
    for file, name in unread:
        called = f"{file}: {name}" if name in clashing else name
        found[called] = ((file, name), given[file, name])
    return found


def _repeated(pairs: list[Source], others: tuple[str, ...]) -> set[str]:
    counts = Counter(name for _, name in pairs)
    return {name for name, times in counts.items() if times > 1 or name in others}
