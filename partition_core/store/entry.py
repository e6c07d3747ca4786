"""The form of an entry: what a step gave, sealed, so that a damaged one is never believed. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from partition_core.base.disk import Digest, digest_of
from partition_core.base.outside_files import parsed_json

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class StoredFile:
    """A file of a result: the digest of its bytes and their number."""

    digest: Digest
    size: int


@dataclass(frozen=True)
class Origin:
    """Where a result comes from, for people: not part of what it is."""

    recipe: str
    step: str
    seconds: float


@dataclass(frozen=True)
class Result:
    """What a step gave: its files by name, and notes, which are plain data for the manifest."""

    files: Mapping[str, StoredFile]
    notes: Mapping[str, Any]
    origin: Origin


Fits = Callable[[Result], bool]
"""Tells whether a result is what a step gives; its seal is no promise of that."""


def anything(_: Result) -> bool:
    """Return True: for who does not know the step."""
    return True


def encode(key: str, result: Result) -> bytes:
    """Return the entry of the step with the fingerprint `key`, as JSON with its own digest."""
    body = {
        "files": {name: [file.digest, file.size] for name, file in result.files.items()},
        "notes": dict(result.notes),
        "origin": [result.origin.recipe, result.origin.step, result.origin.seconds],
    }
    return json.dumps({"result": body, "seal": _seal(key, body)}).encode()


def decode(key: str, content: bytes) -> Result | None:
    """Return the result in the entry of `key`, or None if it is not an entry of that key, whole."""
    try:
        sealed = parsed_json(content)
        body = sealed["result"]
        if sealed["seal"] != _seal(key, body):
            return None
        recipe, step, seconds = body["origin"]
        files = {
            _name(name): StoredFile(_digest(digest), _size(size))
            for name, (digest, size) in body["files"].items()
        }
        origin = Origin(_name(recipe), _name(step), _seconds(seconds))
        return Result(files, dict(body["notes"]), origin)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
        return None


def is_digest(text: str) -> bool:
    """Return whether `text` can be a digest, and so the name of a stored file."""
    return len(text) == 64 and all(char in "0123456789abcdef" for char in text)


def _digest(text: object) -> Digest:
    if not isinstance(text, str) or not is_digest(text):
        raise ValueError(text)
    return Digest(text)


def _name(text: object) -> str:
    # They are told at a terminal, which obeys control characters.
    if not isinstance(text, str) or _CONTROL.search(text):
        raise ValueError(text)
    return text


def _size(count: object) -> int:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(count)
    return count


def _seconds(count: object) -> float:
    if not isinstance(count, int | float) or not math.isfinite(count):
        raise ValueError(count)
    return float(count)


def _seal(key: str, body: Any) -> str:
    return digest_of(json.dumps([key, body], sort_keys=True).encode())
