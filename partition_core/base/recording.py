"""What a model gave before anything was made of it: what end2end must give again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from partition_core.base.array_sets import ArraySet, load_sets, save_sets


@dataclass(frozen=True, eq=False)
class RecordedSample:
    """What went into the original model and came out of it, and the marked tensors by reference.

    The changes are the largest differences to another run (infinite for another shape) of those
    outputs and marked tensors that are not the same in each. `kind` is empty, or what messages call
    a sample that only searches for an input which takes another branch.
    """

    inputs: ArraySet
    marks: ArraySet
    outputs: ArraySet
    mark_changes: Mapping[str, float] = field(default_factory=dict)
    output_changes: Mapping[str, float] = field(default_factory=dict)
    kind: str = ""


@dataclass(frozen=True, eq=False)
class Recording:
    """What the original model gave for each sample.

    `is_traced` tells that it is a model of PyTorch that was traced, and not a given ONNX file.
    """

    samples: tuple[RecordedSample, ...]
    is_traced: bool


def save_recording(recording: Recording, target: Path) -> None:
    """Write a recording to `target`; equal ones give equal bytes."""
    sets: list[ArraySet] = [
        {
            "is_traced": np.array(recording.is_traced),
            "kinds": np.array([sample.kind for sample in recording.samples], str),
        }
    ]
    for one in recording.samples:
        sets += one.inputs, one.marks, one.outputs, one.mark_changes, one.output_changes
    save_sets(sets, target)


def load_recording(path: Path) -> Recording:
    """Return what `save_recording` wrote to the file at `path`."""
    about, *sets = load_sets(path)
    rest = iter(sets)
    samples = []
    for kind in about["kinds"]:
        inputs, marks, outputs, *changes = islice(rest, 5)
        moved, given = ({name: float(one) for name, one in each.items()} for each in changes)
        samples.append(RecordedSample(inputs, marks, outputs, moved, given, str(kind)))
    return Recording(tuple(samples), bool(about["is_traced"]))
