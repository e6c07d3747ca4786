"""Formats figures for people."""

from __future__ import annotations

from collections.abc import Sequence


def dims_text(dims: Sequence[int | str]) -> str:
    """Return the dims of a tensor: `1 × 3 × 320 × 320`; a single number is a `scalar`."""
    return " × ".join(map(str, dims)) or "scalar"


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds with three digits: `12.3 ms`."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds * 1000:.0f} ms"


def shortened(name: str, most: int) -> str:
    """Return a name cut to `most` letters; a long name keeps its end, which differs most."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
