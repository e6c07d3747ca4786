"""Fingerprints: everything that can change a result, as a readable list and as one digest.

The same list gives the key and the explanation, so that the two cannot drift apart. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from partition_core.base.wording import first_of

FORMAT = "1"


@dataclass(frozen=True)
class Fingerprint:
    """An ordered list of labelled texts; each label occurs once and says what its text is."""

    entries: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """The digest of the list: 64 hex digits, equal only for equal lists."""
        content = json.dumps([FORMAT, self.entries], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


def changes(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Describe the differences between two fingerprints, in the order of the new one."""
    before, after = dict(old.entries), dict(new.entries)
    differences = [
        f"{label} is new"
        if label not in before
        else f"{label} changed{_detail(before[label], text)}"
        for label, text in after.items()
        if before.get(label) != text
    ]
    return [*differences, *(f"{label} was removed" for label in before if label not in after)]


_LONGEST_SHOWN = 40
_MOST_SHOWN = 3


def _detail(old: str, new: str) -> str:
    if old[:1] in "[{" and new[:1] in "[{":
        return _detail_of_values(dict(_leaves(json.loads(old))), dict(_leaves(json.loads(new))))
    short = max(len(old), len(new)) <= _LONGEST_SHOWN
    return f": {old} -> {new}" if short else ""


def _detail_of_values(old: dict[str, str], new: dict[str, str]) -> str:
    paths = [path for path in {**old, **new} if old.get(path) != new.get(path)]
    texts = [f"{path} {old.get(path, 'nothing')} -> {new.get(path, 'nothing')}" for path in paths]
    return f": {first_of(texts, _MOST_SHOWN)}" if texts else ""


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each plain value: `marks[1].name`, `"decode"`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)
