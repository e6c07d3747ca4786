"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Sequence

_SCALES = ((10**12, " T"), (10**9, " G"), (10**6, " M"), (10**3, " k"))


def large(count: int) -> str:
    """Return a large number in three digits and a prefix: `3.24 G`."""
    for scale, prefix in _SCALES:
        if count >= scale:
            return f"{count / scale:.3g}{prefix}"
    return str(count)


def dims_text(dims: Sequence[int | str]) -> str:
    """Return the dims of a tensor: `1 × 3 × 320 × 320`; a single number is a `scalar`."""
    return " × ".join(map(str, dims)) or "scalar"


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds in three digits: `12.3 ms`."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds * 1000:.0f} ms"


def shortened(name: str, most: int) -> str:
    """Return a name in at most so many letters: of a long one the end, which differs most."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
