"""Wording of messages: readable sizes and counts, and warnings."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from partition_core.base.errors import BuildError

_SCALES = ((10**12, " T"), (10**9, " G"), (10**6, " M"), (10**3, " k"))
_SIZES = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B?")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def size_text(count: int) -> str:
    """Return a number of bytes with its unit: `246.8 MB`."""
    for unit, scale in _SIZES:
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def one_line(text: object, folder: Path | None = None) -> str:
    """Return a text, or that of an error, on one line, without the path of `folder` before names.

    It may be a private folder of the store, which no longer exists when the text is read.
    """
    line = " ".join(str(text).split())
    return line if folder is None else line.replace(f"{folder}{os.sep}", "")


def signal_name(number: int) -> str:
    """Return the name of a signal, such as `SIGKILL`, or its number if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def bytes_in(text: str, where: str = "down-to") -> int:
    """Return the number of bytes of a text such as `20GB`; raises BuildError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BuildError.at(where, f"'{text}' is not a size", "expected one such as 20GB")
    return int(float(match[1]) * _UNITS[match[2]])


def large(count: int) -> str:
    """Return a large number with three digits and a prefix: `3.24 G`."""
    for scale, prefix in _SCALES:
        if count >= scale:
            return f"{count / scale:.3g}{prefix}"
    return str(count)


def counted(count: int, noun: str) -> str:
    """Return a count and its noun, in the plural if needed: `2 files`."""
    return f"{count} {noun}{'s' if count != 1 else ''}"


def first_of(texts: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first `most` texts, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


def seeded_weights(seed: int) -> str:
    """Return the caution about labels and scores of seeded weights."""
    return f"the weights are drawn from seed {seed}: labels and scores mean nothing"


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> Iterator[str]:
    """Yield rows as lines with aligned columns; the columns `right` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def warn(message: str) -> None:
    """Warn about something that does not stop the build."""
    print(f"WARNING: {message}", file=sys.stderr, flush=True)
