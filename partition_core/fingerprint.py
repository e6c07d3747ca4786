"""Fingerprints: everything that can change a result, as a readable list and as one digest.

The same list gives the key and the explanation, so that the two cannot drift apart. Pure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

FORMAT = "1"


@dataclass(frozen=True)
class Fingerprint:
    """An ordered list of labelled texts; each label occurs once and tells what the text is of."""

    entries: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """The digest of the list: 64 hex digits, equal only for equal lists."""
        content = json.dumps([FORMAT, self.entries], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


def changes(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Return in words what differs between two fingerprints, in the order of the new one."""
    before, after = dict(old.entries), dict(new.entries)
    found = [
        f"{label} is new"
        if label not in before
        else f"{label} changed{_detail(before[label], text)}"
        for label, text in after.items()
        if before.get(label) != text
    ]
    return [*found, *(f"{label} is gone" for label in before if label not in after)]


_LONGEST_SHOWN = 40


def _detail(old: str, new: str) -> str:
    short = max(len(old), len(new)) <= _LONGEST_SHOWN
    return f": {old} -> {new}" if short else ""
