"""Checks of values, from which the step modules compose those of their results' notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FINGERPRINT = "fingerprint"
"""The note with the entries of a result's fingerprint."""
REFERS = "refers to weights"
"""The note of a cut: whether its segment needs a weights file."""
NOT_FOLLOWED = "not_followed"
"""The note of an export that lists what it did that cannot be followed."""

NoteCheck = Callable[[Any], bool]
"""Whether the value of a note is valid; a missing note has the value `ABSENT`."""
ABSENT = object()


def optional(check: NoteCheck) -> NoteCheck:
    """Return the check of a note that may be missing."""
    return lambda value: value is ABSENT or check(value)


def is_text(value: Any) -> bool:
    """Return whether a value is text."""
    return isinstance(value, str)


def is_boolean(value: Any) -> bool:
    """Return whether a value is a boolean."""
    return isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a number other than a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def list_of(check: NoteCheck) -> NoteCheck:
    """Return the check of a list of such values."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def map_of(check: NoteCheck) -> NoteCheck:
    """Return the check of a mapping to such values."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def pair_of(check: NoteCheck) -> NoteCheck:
    """Return the check of a list of two such values."""
    return lambda value: list_of(check)(value) and len(value) == 2


def is_amount(value: Any) -> bool:
    """Return whether a value is a number, or None."""
    return value is None or is_number(value)
