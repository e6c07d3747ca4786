"""Progress for who looks at a terminal: of bytes that travel, and of equal steps; needs nothing of
the package."""

from __future__ import annotations

import sys
from typing import Any


def shown(what: str, size: int | None, start: int = 0) -> Any:
    """Return a bar of `size` bytes, of which `start` are there, silent without a terminal.

    It is a context; `update` takes a number of bytes more.
    """
    from tqdm import tqdm

    return tqdm(
        desc=what,
        total=size,
        initial=start,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
        file=sys.__stderr__,  # doit puts a file that is no terminal into the place of `stderr`
    )


def counted_steps(what: str, count: int, unit: str) -> Any:
    """Return a bar of `count` steps, silent without a terminal; `update` takes some more."""
    from tqdm import tqdm

    return tqdm(
        desc=what,
        total=count,
        unit=unit,
        leave=False,
        disable=None,
        file=sys.__stderr__,
    )
