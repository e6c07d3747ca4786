"""Bytes that stay where they are: ranges of files or of memory; must not know protobuf."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.errors import CutError, problem
from partition_core.base.outside_files import descriptor_of


class EarlyEndError(CutError, EOFError):
    """A file that is shorter than it was, or than it says."""

    def __init__(self) -> None:
        super().__init__(problem("", "it is not an ONNX file: it ends too early"))


class Store(ABC):
    """Something that bytes can be read from by position; equal only to itself."""

    size: int

    @abstractmethod
    def read(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start` on, fewer only at the end."""

    def read_into(self, room: memoryview, start: int) -> int:
        """Put bytes from `start` on into `room`; return how many, 0 only at the end."""
        content = self.read(start, len(room))
        room[: len(content)] = content
        return len(content)


class Memory(Store):
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)

    def read(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start` on, fewer only at the end."""
        return self.content[start : start + length]


class File(Store):
    """A file, open for reading for as long as this object lives; raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = descriptor_of(path)
        self._close = weakref.finalize(self, os.close, self.descriptor)
        self.size = os.fstat(self.descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start` on, fewer only at the end."""
        return os.pread(self.descriptor, length, start)

    def read_into(self, room: memoryview, start: int) -> int:
        """Put bytes from `start` on into `room`; return how many, 0 only at the end."""
        return os.preadv(self.descriptor, [room], start)


@dataclass(frozen=True, slots=True)
class Range:
    """`length` bytes of `store` from `start` on."""

    store: Store
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def read(self) -> bytes:
        """Return the bytes; raises EOFError if the store ends before them."""
        content = self.store.read(self.start, self.length)
        while len(content) < self.length:
            more = self.store.read(self.start + len(content), self.length - len(content))
            if not more:
                raise EarlyEndError
            content += more
        return content


Piece = bytes | Range
"""Some bytes of a message: here, or still where they were found."""


def content_of(piece: Piece) -> bytes:
    """Return the bytes of `piece`, which may be large; raises EOFError as `Range.read` does."""
    return piece.read() if isinstance(piece, Range) else piece
