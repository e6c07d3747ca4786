"""Ranges of files or of memory, read only when needed; must not know protobuf."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.errors import CutError, problem
from partition_core.base.outside_files import descriptor_of


class EarlyEndError(CutError, EOFError):
    """A file that was truncated, or that ends before its contents do."""

    def __init__(self) -> None:
        super().__init__(problem("", "it is not an ONNX file: it ends too early"))


class ByteSource(ABC):
    """Bytes that can be read by position; equal only to itself."""

    size: int

    @abstractmethod
    def read(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start` on, fewer only at the end."""

    def read_into(self, buffer: memoryview, start: int) -> int:
        """Copy bytes from `start` on into `buffer`; return how many, 0 only at the end."""
        content = self.read(start, len(buffer))
        buffer[: len(content)] = content
        return len(content)


class Memory(ByteSource):
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)

    def read(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start` on, fewer only at the end."""
        return self.content[start : start + length]


class File(ByteSource):
    """A file, open for reading for as long as this object lives; raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = descriptor_of(path)
        self._close = weakref.finalize(self, os.close, self.descriptor)
        self.size = os.fstat(self.descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start` on, fewer only at the end."""
        return os.pread(self.descriptor, length, start)

    def read_into(self, buffer: memoryview, start: int) -> int:
        """Copy bytes from `start` on into `buffer`; return how many, 0 only at the end."""
        return os.preadv(self.descriptor, [buffer], start)


@dataclass(frozen=True, slots=True)
class Range:
    """`length` bytes of `source` from `start` on."""

    source: ByteSource
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def read(self) -> bytes:
        """Return the bytes; raises EOFError if the source ends before them."""
        content = self.source.read(self.start, self.length)
        while len(content) < self.length:
            more = self.source.read(self.start + len(content), self.length - len(content))
            if not more:
                raise EarlyEndError
            content += more
        return content


Piece = bytes | Range
"""Bytes of a message: in memory, or a range that is not read yet."""


def content_of(piece: Piece) -> bytes:
    """Return the bytes of `piece`, which may be large; raises EOFError as `Range.read` does."""
    return piece.read() if isinstance(piece, Range) else piece
