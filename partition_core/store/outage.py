"""What the processes of one build know together of a shared store: is it down, what was told."""

from __future__ import annotations

import mmap
import zlib

_SLOTS = 4096


class Outage:
    """Made before doit forks its workers, so that one of them learns for all."""

    def __init__(self) -> None:
        self._marks = mmap.mmap(-1, _SLOTS)

    @property
    def is_down(self) -> bool:
        """Whether nothing more is to be asked of the store."""
        return bool(self._marks[0])

    def is_new(self, text: str, is_down: bool) -> bool:
        """Take note of a fault; return whether it is the first time that it is told."""
        slot = 1 + zlib.crc32(text.encode()) % (_SLOTS - 1)
        is_new = not self._marks[slot]
        self._marks[slot] = 1
        self._marks[0] |= is_down
        return is_new
