"""The format of an entry: a step's result with a checksum, so that damage is detected. Pure."""

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
    """A file of a result: its digest and its size in bytes."""

    digest: Digest
    size: int


@dataclass(frozen=True)
class Origin:
    """Where a result comes from, for display only: not part of its identity."""

    recipe: str
    step: str
    seconds: float


@dataclass(frozen=True)
class Result:
    """The output of a step: its files by name, and notes, which are plain data for the manifest."""

    files: Mapping[str, StoredFile]
    notes: Mapping[str, Any]
    origin: Origin


Fits = Callable[[Result], bool]
"""Whether a result has the form that its step produces; the checksum does not prove that."""


def any_result(_: Result) -> bool:
    """Return True: for callers that do not know the step."""
    return True


def encode(key: str, result: Result) -> bytes:
    """Return the entry for the fingerprint `key` as JSON with a checksum."""
    body = {
        "files": {name: [file.digest, file.size] for name, file in result.files.items()},
        "notes": dict(result.notes),
        "origin": [result.origin.recipe, result.origin.step, result.origin.seconds],
    }
    return json.dumps({"result": body, "seal": _seal(key, body)}).encode()


def decode(key: str, content: bytes) -> Result | None:
    """Return the result in the entry of `key`; None if it is damaged or belongs to another key."""
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
    """Return whether `text` has the form of a digest, and so can name a stored file."""
    return len(text) == 64 and all(char in "0123456789abcdef" for char in text)


def _digest(text: object) -> Digest:
    if not isinstance(text, str) or not is_digest(text):
        raise ValueError(text)
    return Digest(text)


def _name(text: object) -> str:
    # Names are printed at a terminal, which obeys control characters.
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
