"""The conversion of a segment for a target: a runtime, and the dtype of its weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.backends.backend import backend, backend_module
from partition_core.base import packages
from partition_core.build.fingerprint_entries import common_entries
from partition_core.build.note_checks import is_text
from partition_core.build.step import Outcome, StepJob, digests_of, files_on_disk
from partition_core.recipe.places import in_target
from partition_core.recipe.target import Target

if TYPE_CHECKING:
    from partition_core.build.note_checks import NoteCheck

PRINTED = "printed"
"""The note with what the converter printed."""
NOTES: Mapping[str, NoteCheck] = {PRINTED: is_text}


def target_of(job: StepJob, subject: str) -> Target:
    """Return the target whose files are in the folder `subject`."""
    return next(each for each in job.recipe.partition.targets if each.folder == subject)


def files(job: StepJob, subject: str) -> tuple[str, ...]:
    """Return the files that the backend loads."""
    target = target_of(job, subject)
    stem = target.segment.removesuffix(".onnx")
    return backend(target.backend, target.precision).file_names(stem)


def entries(job: StepJob, subject: str) -> Iterator[tuple[str, str]]:
    """Yield the segment, and the backend with what it depends on."""
    target = target_of(job, subject)
    yield "recipe target", target.name
    yield from digests_of(target.segment, job.models[target.segment])
    chosen = backend(target.backend, target.precision)
    needed = itertools.chain(packages.versions(packages.ONNX), chosen.entries())
    yield from common_entries(job, "convert", needed, backend_module(target.backend))


def work(job: StepJob, subject: str) -> Callable[[Path], Outcome]:
    """Return the function that converts the segment; it raises PartitionError."""

    def write(folder: Path) -> Outcome:
        target = target_of(job, subject)
        model = job.models[target.segment]
        weights = {} if model.weights is None else {model.weights_name: model.weights}
        with (
            job.phase(f"convert {subject}"),
            in_target(job.file, target),
            files_on_disk(job, {target.segment: model.file, **weights}) as (path, *_),
        ):
            chosen = backend(target.backend, target.precision)
            conversion = chosen.convert(path, folder)
        return Outcome({PRINTED: conversion.printed})

    return write
