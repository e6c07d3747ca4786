"""Tries a model in a target: what differs from onnxruntime, or why it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.arrays import Arrays
from partition_core.base.errors import PartitionError
from partition_core.proof.comparison import (
    agrees,
    difference,
    form,
    largest_difference,
    magnitude,
    relative_l2,
)


class Runtime(Protocol):
    """What a segment is converted for, and run in."""

    def can_give(self, dtype: str, rank: int) -> bool:
        """Return whether an output may be a tensor of this dtype and rank."""

    def convert(self, model: Path, folder: Path) -> tuple[Path, ...]:
        """Return the converted files of an ONNX file, in `folder`; raises PartitionError."""

    def run(self, files: Sequence[Path], samples: Sequence[Arrays]) -> Sequence[Arrays]:
        """Return the outputs by name for the inputs of each sample; raises PartitionError."""


@dataclass(frozen=True)
class Figures:
    """How far a tensor is from onnxruntime's; `misfit` says that its dtype or shape is another."""

    agrees: bool
    relative_l2: float = float("inf")
    largest_difference: float = float("inf")
    largest_value: float = 0.0
    misfit: str = ""

    def __str__(self) -> str:
        if self.misfit:
            return self.misfit
        return (
            f"relative L2 {self.relative_l2:.3g}, largest difference {self.largest_difference:.3g} "
            f"of {self.largest_value:.3g}"
        )


@dataclass(frozen=True)
class Trial:
    """The figures of each output of a model, or why it cannot be converted or run.

    `inputs` and `expected` are what it was run on and what onnxruntime gives.
    """

    files: tuple[Path, ...] = ()
    figures: Mapping[str, Figures] = field(default_factory=dict)
    failure: str = ""
    is_converted: bool = False
    inputs: Arrays = field(default_factory=dict)
    expected: Arrays = field(default_factory=dict)

    @property
    def differing(self) -> list[str]:
        """The outputs that differ."""
        return [name for name, each in self.figures.items() if not each.agrees]


def tried(
    model: Path,
    runtime: Runtime,
    samples: Sequence[Arrays],
    tolerance: float,
    folder: Path,
    *,
    runs: bool,
) -> Trial:
    """Return the trial of an ONNX file, converted in `folder`; unless it `runs`, it is not run.

    The figures are those of the first of `samples` on which an output differs. Raises ProofError if
    onnxruntime cannot run it.
    """
    try:
        files = runtime.convert(model, folder)
    except PartitionError as error:
        return Trial(failure=_reason(error, folder))
    if not runs:
        return Trial(files, is_converted=True)
    run = Plain(model.name).load(model)
    expected = [run(inputs) for inputs in samples]
    trial = Trial(files, is_converted=True, inputs=samples[0], expected=expected[0])
    try:
        given = runtime.run(files, samples)
    except PartitionError as error:
        return replace(trial, failure=_reason(error, folder))
    trials = [
        replace(
            trial,
            figures={name: compared(ours, theirs, name, tolerance) for name in theirs},
            inputs=inputs,
            expected=theirs,
        )
        for inputs, ours, theirs in zip(samples, given, expected, strict=True)
    ]
    return next((each for each in trials if each.differing), trials[0])


def compared(given: Arrays, expected: Arrays, name: str, tolerance: float) -> Figures:
    """Return the figures of one tensor."""
    theirs = expected[name]
    if name not in given:
        return Figures(False, misfit="it is missing")
    ours = given[name]
    if form(ours) != form(theirs):
        return Figures(False, misfit=difference(ours, theirs))
    return Figures(
        agrees(ours, theirs, tolerance),
        relative_l2(ours, theirs),
        largest_difference(ours, theirs),
        magnitude(theirs),
    )


def _reason(error: PartitionError, folder: Path) -> str:
    return " ".join(str(error).replace(f"{folder}/", "").split())
