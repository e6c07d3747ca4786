"""Whether a stored result is what its step gives: its files and its notes, before it is believed.

A result from a shared store is whole when its seal says so, and may still be wrong: whoever writes
there can seal anything.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from partition_core.base.fingerprint import Fingerprint
from partition_core.build.note_forms import ABSENT, FINGERPRINT, Form, is_text, list_of, pair_of
from partition_core.build.steps import STEPS, module_of
from partition_core.store.entry import Result

MEASURE = "measure"
"""The first word of the name of a measurement."""


def fits(step: str, key: str, result: Result, files: Collection[str] | None = None) -> bool:
    """Return whether a result is what the step called `step`, with the fingerprint `key`, gives.

    Its files must be called `files`, if they are known.
    """
    forms = _notes(step.partition(" ")[0])
    if forms is None:
        return files is None
    if files is not None and set(result.files) != set(files):
        return False
    notes = result.notes
    return all(form(notes.get(name, ABSENT)) for name, form in forms.items()) and (
        FINGERPRINT not in forms or _agrees(key, notes)
    )


def _notes(kind: str) -> Mapping[str, Form] | None:
    """Return what the notes of a kind of result must be like, None for one that is unknown."""
    if kind == MEASURE:
        from partition_core.build.measurements import NOTES

        return NOTES
    if kind not in {row.kind for row in STEPS}:
        return None
    return {FINGERPRINT: list_of(pair_of(is_text)), **module_of(kind).NOTES}


def fingerprint_of(result: Result) -> tuple[tuple[str, str], ...]:
    """Return the entries of the fingerprint of a result; none if it does not tell them."""
    entries = result.notes.get(FINGERPRINT, [])
    if not list_of(pair_of(is_text))(entries):
        return ()
    return tuple((label, text) for label, text in entries)


def _agrees(key: str, notes: Mapping[str, Any]) -> bool:
    """Return whether the fingerprint is that of the key, and only a model of mmdet detects."""
    entries = tuple((label, text) for label, text in notes[FINGERPRINT])
    try:
        model = json.loads(dict(entries).get("recipe model", "{}"))
        detects = bool(notes.get("detects")) and model.get("source") != "mmdet"
        return Fingerprint(entries).key == key and not detects
    except (ValueError, AttributeError):  # no Unicode, no JSON, or another kind of it
        return False
