"""What is known of a module from a user's factory without loading it."""

from __future__ import annotations

from collections.abc import Iterator

from partition_core.base import packages
from partition_core.sources.job import Job
from partition_core.sources.source import InputFile
from partition_core.sources.source import check_input_files as check

__all__ = ["check", "files", "versions"]


def versions() -> Iterator[tuple[str, str]]:
    """Yield the packages that decide what an export gives, with their versions."""
    return packages.versions(packages.TORCH)


def files(_: Job) -> Iterator[InputFile]:
    """Yield nothing: what a factory reads is followed while it runs."""
    yield from ()
