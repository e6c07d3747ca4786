"""Versions of Python and of installed packages, as entries of a fingerprint."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Iterable, Iterator

# A module may come from one of several packages; the installed ones have entries.
CV2 = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
ONNX = ("onnx", "onnx-ir", "numpy", "ml-dtypes", "protobuf")
TORCH = ("torch", "onnxscript", "sympy", *ONNX)


def versions(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the versions of Python and of the `packages` that are installed."""
    yield "python", f"{sys.version_info.major}.{sys.version_info.minor}"
    yield from installed(packages)


def installed(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the installed ones of the `packages`, each with its version."""
    for package in packages:
        version = version_of(package)
        if version is not None:
            yield package, version


@functools.cache
def version_of(package: str) -> str | None:
    """Return the version of a distribution, None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
