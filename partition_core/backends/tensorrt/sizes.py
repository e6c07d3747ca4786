"""The sizes of free dims that a proof ran."""

from __future__ import annotations

from pathlib import Path

from partition_core.base.recording import load_recording
from partition_core.graph.file.graph_reader import read_model

Sizes = tuple[int, int, int]
"""The least size, that of the first sample, and the largest."""


def sizes_of(end2end: Path, recording: Path) -> dict[str, Sizes]:
    """Return the sizes of each symbol in the dims of end2end's inputs, over all recorded samples.

    Raises CutError if `end2end` is no ONNX file.
    """
    found: dict[str, list[int]] = {}
    values = [value for value in read_model(end2end).graph.inputs if value.type is not None]
    for sample in load_recording(recording).samples:
        for value in values:
            dims = (value.type and value.type.dims) or ()
            array = sample.inputs.get(value.name)
            for dim, size in zip(dims, () if array is None else array.shape, strict=False):
                if isinstance(dim, str):
                    found.setdefault(dim, []).append(size)
    return {symbol: (min(sizes), sizes[0], max(sizes)) for symbol, sizes in found.items()}
