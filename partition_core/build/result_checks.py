"""Whether a stored result is valid for its step: its files and notes, checked before it is used.

A seal shows that a result from a shared store is complete, not that it is right: anyone who can
write there can seal anything.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from partition_core.base.fingerprint import Fingerprint
from partition_core.build.note_checks import (
    ABSENT,
    FINGERPRINT,
    NoteCheck,
    is_text,
    list_of,
    pair_of,
)
from partition_core.build.steps import STEPS, module_of
from partition_core.store.entry import Result

MEASURE = "measure"
"""The first word of the name of a measurement."""


def is_valid(step: str, key: str, result: Result, files: Collection[str] | None = None) -> bool:
    """Return whether a result is valid for the step called `step` with the fingerprint `key`.

    Its files must be called `files`, if they are known.
    """
    checks = _notes(step.partition(" ")[0])
    if checks is None:
        return files is None
    if files is not None and set(result.files) != set(files):
        return False
    notes = result.notes
    return all(check(notes.get(name, ABSENT)) for name, check in checks.items()) and (
        FINGERPRINT not in checks or _agrees(key, notes)
    )


def _notes(kind: str) -> Mapping[str, NoteCheck] | None:
    """Return the checks of the notes of a kind of result, None for an unknown kind."""
    if kind == MEASURE:
        from partition_core.build.measurements import NOTES

        return NOTES
    if kind not in {row.kind for row in STEPS}:
        return None
    return {FINGERPRINT: list_of(pair_of(is_text)), **module_of(kind).NOTES}


def fingerprint_of(result: Result) -> tuple[tuple[str, str], ...]:
    """Return the entries of a result's fingerprint, none if it has no valid ones."""
    entries = result.notes.get(FINGERPRINT, [])
    if not list_of(pair_of(is_text))(entries):
        return ()
    return tuple((label, text) for label, text in entries)


def _agrees(key: str, notes: Mapping[str, Any]) -> bool:
    """Return whether the fingerprint matches the key, and only an mmdet model detects."""
    entries = tuple((label, text) for label, text in notes[FINGERPRINT])
    try:
        model = json.loads(dict(entries).get("recipe model", "{}"))
        detects = bool(notes.get("detects")) and model.get("source") != "mmdet"
        return Fingerprint(entries).key == key and not detects
    except (ValueError, AttributeError):  # not Unicode, not JSON, or not a JSON object
        return False
