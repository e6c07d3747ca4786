"""State that all processes of a build share: whether the shared store is down, what was logged."""

from __future__ import annotations

import mmap
import zlib

_SLOTS = 4096


class Outage:
    """Created before doit forks its workers, so that what one of them learns holds for all."""

    def __init__(self) -> None:
        self._marks = mmap.mmap(-1, _SLOTS)

    @property
    def is_down(self) -> bool:
        """Whether no more requests are to be sent to the store."""
        return bool(self._marks[0])

    def is_new(self, text: str, is_down: bool) -> bool:
        """Record a fault; return whether it is reported for the first time."""
        slot = 1 + zlib.crc32(text.encode()) % (_SLOTS - 1)
        is_new = not self._marks[slot]
        self._marks[slot] = 1
        self._marks[0] |= is_down
        return is_new
