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
    """The inputs of a chain, the sources of each segment's inputs, and the outputs of the chain.

    `feeds` has the sources by segment and input; `outputs` the tensors of the result, by the name
    of an output of end2end or of an unread output of a segment. `gaps` are the inputs that end2end
    computes but no segment produces, each with the segment that needs it.
    """

    inputs: tuple[Tensor, ...]
    feeds: Mapping[str, Mapping[str, Source]]
    outputs: Mapping[str, tuple[Source, Tensor]]
    gaps: Mapping[str, str]


def wiring(manifest: Manifest) -> Wiring:
    """Return how the segments of a build are connected.

    A gap has the name of the segment's input, or `segment: name` where two different tensors would
    have the same name; so has an unread output.
    """
    segments = manifest.segments
    consumed = {(s.save_file, tensor.name): tensor for s in segments for tensor in s.inputs}
    produced = {(s.save_file, tensor.name): tensor for s in segments for tensor in s.outputs}
    feeds = feeds_of(manifest.edges)
    inputs: dict[str, Tensor] = {}
    gaps: dict[str, str] = {}
    missing = {consumed[e.consumer, e.input] for e in manifest.edges if not e.producer}
    clashing = _repeated([*{(t.reference, t.name) for t in missing}], manifest.inputs)
    for edge in manifest.edges:
        if edge.producer not in ("", MODEL_INPUT):
            continue
        name = edge.output or edge.input
        if not edge.producer:
            name = f"{edge.consumer}: {name}" if name in clashing else name
            gaps.setdefault(name, edge.consumer)
            feeds.setdefault(edge.consumer, {})[edge.input] = (MODEL_INPUT, name)
        inputs.setdefault(name, replace(consumed[edge.consumer, edge.input], name=name))
    return Wiring(tuple(inputs.values()), feeds, _outputs(manifest, produced), gaps)


def _outputs(
    manifest: Manifest, produced: Mapping[Source, Tensor]
) -> dict[str, tuple[Source, Tensor]]:
    outputs: dict[str, tuple[Source, Tensor]] = {}
    for edge in manifest.edges:
        if edge.consumer == MODEL_OUTPUT:
            source = (edge.producer, edge.output)
            outputs[edge.input] = (source, produced[source])
    read = {(edge.producer, edge.output) for edge in manifest.edges}
    unread = [source for source in produced if source not in read]
    clashing = _repeated(unread, tuple(outputs))
    for file, name in unread:
        key = f"{file}: {name}" if name in clashing else name
        outputs[key] = ((file, name), produced[file, name])
    return outputs


def _repeated(pairs: list[Source], others: tuple[str, ...]) -> set[str]:
    counts = Counter(name for _, name in pairs)
    return {name for name, times in counts.items() if times > 1 or name in others}
