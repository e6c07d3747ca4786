"""Lists in the store: of each kind of work, what it turned out to depend on. Pure.

What an export reads is known only after it has run. So beside its result, whose key holds all of
that, the store has an entry under a key of what is known before: lists of what was read, several
where that depends on what was in it. It is an entry without files. No list is a promise: it only
says what to look at, and a result is found under the key of all that it depends on.
"""

from __future__ import annotations

from collections.abc import Iterable

from partition_core.store.entry import Origin, Result

MOST = 16
"""Lists that an entry has at most; that which was added last comes first."""

LISTED_AT = "listed at"
"""The note of a result that has the key of the lists by which it is found."""

_LISTS = "lists"

Names = tuple[str, ...]


def lists_in(entry: Result | None) -> tuple[Names, ...]:
    """Return the lists in an entry, none if it is not one with lists."""
    if entry is None or not is_lists(entry):
        return ()
    told = entry.notes.get(_LISTS)
    if not isinstance(told, list):
        return ()
    return tuple(tuple(str(name) for name in names) for names in told if isinstance(names, list))


def is_lists(entry: Result) -> bool:
    """Return whether an entry holds lists and no result, which would have files."""
    return not entry.files


def merged(*groups: Iterable[Names]) -> tuple[Names, ...]:
    """Return the lists of several groups, the first of them first, each once."""
    return tuple(dict.fromkeys(names for group in groups for names in group))[:MOST]


def entry_of(recipe: str, step: str, lists: Iterable[Names]) -> Result:
    """Return the entry with the lists of a step of a recipe."""
    return Result({}, {_LISTS: [list(names) for names in lists]}, Origin(recipe, step, 0.0))


def with_lists(entry: Result, lists: Iterable[Names]) -> Result:
    """Return an entry with other lists."""
    return entry_of(entry.origin.recipe, entry.origin.step, lists)
