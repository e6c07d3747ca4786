"""The versions of installed packages, without importing one."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterable, Iterator


def installed(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield those of the `packages` that are installed, each with its version."""
    for package in packages:
        version = version_of(package)
        if version is not None:
            yield package, version


@functools.cache
def version_of(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
