"""What the result of each kind of step is like: its files and its notes, before it is believed.

A result from a shared store is whole when its seal says so, and may still be wrong: whoever writes
there can seal anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from partition_core.base.fingerprint import Fingerprint
from partition_core.base.index_ranges import ZERO_OR_ONE
from partition_core.chain.picture import PictureInput
from partition_core.store.entry import Result
from partition_core.store.lists import LISTED_AT

FINGERPRINT = "fingerprint"
"""The note that has the entries of a result's fingerprint."""
REFERS = "refers to weights"
"""The note of a cut that tells whether its segment needs a file with weights."""
MEASURE = "measure"
"""The first word of the name of a measurement."""
OUTPUTS = "outputs.npz"
"""The file of a measurement, with what the model gave."""
NOT_FOLLOWED = "not_followed"
"""The note of an export that tells what it did that cannot be followed."""

Form = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list_of(form: Form) -> Form:
    return lambda value: isinstance(value, list) and all(map(form, value))


def _map_of(form: Form) -> Form:
    return lambda value: isinstance(value, dict) and all(map(form, value.values()))


def _is_pair(form: Form) -> Form:
    return lambda value: _list_of(form)(value) and len(value) == 2


def _is_decision(value: Any) -> bool:
    texts = ("source", "question", "reason", "code")
    return (
        isinstance(value, dict)
        and all(_is_text(value.get(name)) for name in texts)
        and all(_is_truth(value.get(name)) for name in ("answer", "assumed"))
    )


def _is_picture(value: Any) -> bool:
    try:
        PictureInput.of(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return True


def _is_amount(value: Any) -> bool:
    return value is None or _is_number(value)


_NEEDED: Mapping[str, Mapping[str, Form]] = {
    "export": {FINGERPRINT: _list_of(_is_pair(_is_text)), "detects": _is_truth},
    "cut": {FINGERPRINT: _list_of(_is_pair(_is_text)), REFERS: _is_truth},
    "prove": {FINGERPRINT: _list_of(_is_pair(_is_text)), "summary": _is_text},
    "report": {FINGERPRINT: _list_of(_is_pair(_is_text))},
    MEASURE: {
        "load": _is_number,
        "runs": lambda value: _list_of(_is_number)(value) and bool(value),
        "peak": _is_amount,
        "where": _is_text,
    },
}
"""The notes that a result of a kind of step must have, by the first word of the step's name."""

_POSSIBLE: Mapping[str, Form] = {
    "inputs": _list_of(_is_text),
    "model_sha256": _is_text,
    "checkpoint_sha256": _is_text,
    "decisions": _list_of(_is_decision),
    ZERO_OR_ONE: _list_of(_is_text),
    "index_ranges": _map_of(_is_pair(_is_number)),
    "dynamic_axes": lambda value: isinstance(value, dict),
    "picture": _is_picture,
    "picture_unknown": _is_text,
    "classes": _list_of(_is_text),
    LISTED_AT: _is_text,
    NOT_FOLLOWED: _list_of(_is_text),
}
"""The notes that a result may have besides."""


def fits(step: str, key: str, result: Result, files: Collection[str] | None = None) -> bool:
    """Return whether a result is what the step called `step`, with the fingerprint `key`, gives.

    Its files must be called `files`, if they are known.
    """
    needed = _NEEDED.get(step.partition(" ")[0])
    if needed is None:
        return files is None
    if files is not None and set(result.files) != set(files):
        return False
    forms, notes = {**_POSSIBLE, **needed}, result.notes
    return (
        needed.keys() <= notes.keys()
        and all(forms[name](value) for name, value in notes.items() if name in forms)
        and (FINGERPRINT not in needed or _agrees(key, notes))
    )


def fingerprint_of(result: Result) -> tuple[tuple[str, str], ...]:
    """Return the entries of the fingerprint of a result; none if it does not tell them."""
    entries = result.notes.get(FINGERPRINT, [])
    if not _list_of(_is_pair(_is_text))(entries):
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
