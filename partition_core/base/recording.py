"""The original model's inputs and outputs, which end2end must reproduce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from partition_core.base.array_sets import ArraySet, load_sets, save_sets


@dataclass(frozen=True, eq=False)
class RecordedSample:
    """The inputs and outputs of the original model, and the marked tensors by reference.

    The changes are the largest differences to another run (infinite for another shape) of those
    outputs and marked tensors that vary between runs. `kind` is empty, or names in messages a
    sample whose only purpose is to find an input that takes another branch, or another batch.
    """

    inputs: ArraySet
    marks: ArraySet
    outputs: ArraySet
    mark_changes: Mapping[str, float] = field(default_factory=dict)
    output_changes: Mapping[str, float] = field(default_factory=dict)
    kind: str = ""


@dataclass(frozen=True, eq=False)
class Recording:
    """The recorded samples of the original model.

    `is_traced` says that it is a traced PyTorch model, not a given ONNX file.
    """

    samples: tuple[RecordedSample, ...]
    is_traced: bool


def save_recording(recording: Recording, target: Path) -> None:
    """Write a recording to `target`; equal recordings give equal bytes."""
    sets: list[ArraySet] = [
        {
            "is_traced": np.array(recording.is_traced),
            "kinds": np.array([sample.kind for sample in recording.samples], str),
        }
    ]
    for sample in recording.samples:
        sets += sample.inputs, sample.marks, sample.outputs
        sets += sample.mark_changes, sample.output_changes
    save_sets(sets, target)


def load_recording(path: Path) -> Recording:
    """Return the recording that `save_recording` wrote to `path`."""
    about, *sets = load_sets(path)
    rest = iter(sets)
    samples = []
    for kind in about["kinds"]:
        inputs, marks, outputs, *changes = islice(rest, 5)
        by_mark, by_output = ({n: float(value) for n, value in c.items()} for c in changes)
        samples.append(RecordedSample(inputs, marks, outputs, by_mark, by_output, str(kind)))
    return Recording(tuple(samples), bool(about["is_traced"]))
