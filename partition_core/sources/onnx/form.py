"""What is known of an ONNX file without running it."""

from __future__ import annotations

from collections.abc import Iterator

from partition_core.backends.backend import backend
from partition_core.base import packages
from partition_core.sources.job import Job
from partition_core.sources.pinned import pinned_by
from partition_core.sources.source import InputFile


def versions() -> Iterator[tuple[str, str]]:
    """Yield the packages that decide what an export gives, with their versions."""
    yield from packages.versions(packages.ONNX)
    yield from backend("onnxruntime").entries()


def files(job: Job) -> Iterator[InputFile]:
    """Yield the external data files of the recipe's ONNX file; none if that has a URL."""
    from partition_core.graph.external import locations
    from partition_core.sources.onnx.given_file import opened

    pinned = pinned_by(job.file)
    if pinned is None or pinned.is_url:
        return
    path = job.root / pinned.location
    for location in locations(opened(job.file, path)):
        yield InputFile(f"external data {location}", path.parent / location, "model.path")


def check(job: Job) -> None:
    """Raise PartitionError for every mismatch between a recipe and its ONNX file.

    Runs and writes nothing. A file that has to be fetched is not checked.
    """
    from partition_core.sources.onnx.given_file import marked_by, samples_for

    pinned = pinned_by(job.file)
    if pinned is not None and not pinned.is_url:
        samples_for(job, marked_by(job, job.root / pinned.location).model)
