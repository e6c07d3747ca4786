"""Errors as values: a problem has a place and one renderer; imports nothing of the package."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, order=True)
class Place:
    """Where a problem is: a file, a line of it (1-based, 0 if unknown) and a YAML path."""

    file: str = ""
    line: int = 0
    path: str = ""

    def __str__(self) -> str:
        position = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (position, self.path) if part)


@dataclass(frozen=True, order=True)
class Problem:
    """A problem: what is wrong, what was expected, and what to do about it."""

    place: Place
    what: str
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        text = "; ".join(part for part in (self.what, self.expected, self.remedy) if part)
        place = str(self.place)
        return f"{place}: {text}" if place else text


class PartitionError(Exception):
    """A mistake of the user or the environment, shown without a traceback, each problem once."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = tuple(dict.fromkeys(problems))

    @classmethod
    def at(cls, where: str | Place, what: str, expected: str = "", remedy: str = "") -> Self:
        """Return the error with one problem (`problem`)."""
        return cls(problem(where, what, expected, remedy))

    @classmethod
    def refuse(cls, problems: Iterable[Problem]) -> None:
        """Raise the error if there are any problems."""
        if found := tuple(problems):
            raise cls(*found)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class RecipeError(PartitionError):
    """A recipe, or a file it names, cannot be understood."""


class ExportError(PartitionError):
    """The model cannot be created, marked or exported."""


class CutError(PartitionError):
    """A segment cannot be cut out of the end2end model."""


class ProofError(PartitionError):
    """The segments, the end2end model and the PyTorch model do not agree."""


class ConversionError(PartitionError):
    """A segment cannot be converted for a backend."""


class BuildError(PartitionError):
    """A build cannot continue: a file, a checkpoint or the store is wrong."""


class RunError(PartitionError):
    """A build folder cannot be run: a file, a tensor, a picture or a segment is wrong."""


def problem(where: str | Place, what: str, expected: str = "", remedy: str = "") -> Problem:
    """Return the problem at `where`, a place or its text."""
    place = where if isinstance(where, Place) else Place(path=where)
    return Problem(place, what, expected, remedy)


_MORE_ROOM = (
    "`doit prune` removes results that no build folder uses, and PARTITION_CORE_STORE can name a "
    "folder on another disk for the store"
)


def disk_problem(error: OSError) -> Problem:
    """Return the problem of an error of the disk, with its file."""
    name = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename or b"")
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return problem(
        Place(name or "disk"),
        error.strerror or str(error),
        "expected enough free space for the build" if is_full else "",
        _MORE_ROOM if is_full else "",
    )


def quoted(text: str) -> str:
    """Return the text between single quotes, on one line and of bounded length."""
    shown = text if len(text) <= 80 else text[:77] + "..."
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return f"'{''.join(escaped)}'"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to `word`, or None if none is similar."""
    import difflib  # needed only for errors

    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return near[0] if near else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the known name nearest to `word`, or an empty string."""
    near = nearest(word, known)
    return f"did you mean {quoted(near)}?" if near else ""


def one_of(known: Iterable[str]) -> str:
    """Return `expected one of 'a', 'b'`, the names sorted, for the middle of a message."""
    names = ", ".join(quoted(name) for name in sorted(known))
    return f"expected one of {names}" if names else "there is none to choose from"
