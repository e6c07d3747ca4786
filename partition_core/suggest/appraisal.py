"""The costs of a cut and its parts; knows neither ONNX files nor how cuts are found."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from partition_core.suggest.flow import Flow
from partition_core.suggest.search import GRAIN, Parts


@dataclass(frozen=True)
class PartFigures:
    """One part of a cut. `parameters` counts numbers, `weights` and `activations` are bytes.

    `activations` is the peak size of its tensors: its inputs all the time, and its results until
    they are last read. `seconds` is None if nothing was measured. A weight
    that two parts read is counted in both. `operators` are the kinds of its nodes.
    """

    nodes: int
    flops: int
    parameters: int
    weights: int
    activations: int
    seconds: float | None
    operators: frozenset[str]

    @property
    def memory(self) -> int:
        """The bytes of weights and activations."""
        return self.weights + self.activations


@dataclass(frozen=True)
class Appraisal:
    """A cut: `boundaries` holds the indices of the tensors that cross each, in graph order.

    `crossing` is None if the size of one of them is not known.
    """

    parts: Parts
    boundaries: tuple[tuple[int, ...], ...]
    crossing: int | None
    share: int
    figures: tuple[PartFigures, ...]

    @property
    def tensors(self) -> int:
        """How many tensors cross, each counted at every boundary that it crosses."""
        return sum(map(len, self.boundaries))


def appraised(flow: Flow, parts: Parts, seconds: Mapping[str, float] | None = None) -> Appraisal:
    """Return the costs of a cut; `seconds` is the time that each step takes, by its name."""
    count = max(parts) + 1
    boundaries = tuple(_crossing(flow, parts, boundary) for boundary in range(count - 1))
    sizes = [flow.tensors[tensor].size for crossing in boundaries for tensor in crossing]
    known = [size for size in sizes if size is not None]
    figures = tuple(_figures(flow, parts, part, seconds) for part in range(count))
    return Appraisal(
        parts,
        boundaries,
        sum(known) if len(known) == len(sizes) else None,
        -(-GRAIN * max(part.flops for part in figures) // max(flow.flops, 1)),
        figures,
    )


def _crossing(flow: Flow, parts: Parts, boundary: int) -> tuple[int, ...]:
    return tuple(
        number
        for number, tensor in enumerate(flow.tensors)
        if (tensor.maker < 0 or parts[tensor.maker] <= boundary)
        and any(parts[reader] > boundary for reader in tensor.readers)
    )


def _figures(
    flow: Flow, parts: Parts, part: int, seconds: Mapping[str, float] | None
) -> PartFigures:
    indices = [index for index, home in enumerate(parts) if home == part]
    steps = [flow.steps[index] for index in indices]
    weights = [flow.weights[index] for index in {w for step in steps for w in step.weights}]
    return PartFigures(
        nodes=len(steps),
        flops=sum(step.flops for step in steps),
        parameters=sum(weight.parameters for weight in weights),
        weights=sum(weight.size for weight in weights),
        activations=peak_bytes(flow, parts, indices),
        seconds=None if seconds is None else sum(seconds.get(step.name, 0.0) for step in steps),
        operators=frozenset(step.op_type for step in steps),
    )


def peak_bytes(flow: Flow, parts: Parts, indices: Sequence[int]) -> int:
    """Return the peak bytes of a part's tensors while its steps run in order.

    `indices` are its steps. Tensors of unknown size count as 0 bytes.
    """
    own = set(indices)
    inputs = {read for index in indices for read in flow.steps[index].reads}
    live_bytes = sum(flow.tensors[t].size or 0 for t in inputs if flow.tensors[t].maker not in own)
    peak = live_bytes
    leaving: dict[int, int] = {}
    for index in indices:
        live_bytes -= leaving.pop(index, 0)
        for output in flow.steps[index].makes:
            tensor = flow.tensors[output]
            size = tensor.size or 0
            live_bytes += size
            stays = tensor.is_output or any(reader not in own for reader in tensor.readers)
            if not stays:
                after = _next(indices, tensor.readers[-1] if tensor.readers else index)
                leaving[after] = leaving.get(after, 0) + size
        peak = max(peak, live_bytes)
    return peak


def _next(indices: Sequence[int], index: int) -> int:
    """Return the step of the part that runs after `index`, or -1 after the last."""
    place = bisect.bisect_right(indices, index)
    return indices[place] if place < len(indices) else -1
