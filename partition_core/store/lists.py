"""Dependency lists in the store: what an export turned out to read. Pure.

What an export reads is known only after it has run. So beside its result, whose key covers all
dependencies, the store has an entry under a key of what is known beforehand: lists of what was
read, several if that depends on the content. It is an entry without files. A list is only a hint:
it says what to hash, and a result is looked up under the key of all its dependencies.
"""

from __future__ import annotations

from collections.abc import Iterable

from partition_core.store.entry import Origin, Result

MOST = 16
"""The most lists that an entry has; the latest comes first."""

LISTED_AT = "listed at"
"""The note of a result that names the key of the lists that lead to it."""

_LISTS = "lists"

Names = tuple[str, ...]


def lists_in(entry: Result | None) -> tuple[Names, ...]:
    """Return the lists in an entry; none if it is not an entry with lists."""
    if entry is None or not is_lists(entry):
        return ()
    lists = entry.notes.get(_LISTS)
    if not isinstance(lists, list):
        return ()
    return tuple(tuple(str(name) for name in names) for names in lists if isinstance(names, list))


def is_lists(entry: Result) -> bool:
    """Return whether an entry has lists rather than a result, which would have files."""
    return not entry.files


def merged(*groups: Iterable[Names]) -> tuple[Names, ...]:
    """Return the lists of several groups in order, without duplicates, at most `MOST`."""
    return tuple(dict.fromkeys(names for group in groups for names in group))[:MOST]


def entry_of(recipe: str, step: str, lists: Iterable[Names]) -> Result:
    """Return an entry with the lists of a step of a recipe."""
    return Result({}, {_LISTS: [list(names) for names in lists]}, Origin(recipe, step, 0.0))


def with_lists(entry: Result, lists: Iterable[Names]) -> Result:
    """Return a copy of an entry with other lists."""
    return entry_of(entry.origin.recipe, entry.origin.step, lists)
