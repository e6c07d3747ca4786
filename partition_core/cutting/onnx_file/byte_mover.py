"""Moves pieces into a file: large ranges by the kernel where it can, without passing through
Python; must not know ONNX."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from partition_core.cutting.onnx_file.byte_range import File, Piece, Range, content_of

_GATHERED = 1 << 16
_CHUNK = 1 << 20
_AT_ONCE = 1 << 30


def write_pieces(pieces: Iterable[Piece], target: Path) -> None:
    """Write `pieces` one after the other to `target`, a new file or an empty one.

    Memory does not grow with the ranges. Raises OSError, and EOFError if a range ends early.
    """
    with target.open("wb", buffering=0) as stream:
        gathered: list[bytes] = []
        size = 0
        for piece in pieces:
            if len(piece) < _GATHERED:
                gathered.append(content_of(piece))
                size += len(piece)
            if size >= _GATHERED or len(piece) >= _GATHERED:
                _write(stream.fileno(), b"".join(gathered))
                gathered, size = [], 0
            if len(piece) >= _GATHERED:
                _move(piece, stream.fileno())
        _write(stream.fileno(), b"".join(gathered))


def _move(piece: Piece, target: int) -> None:
    if isinstance(piece, bytes):
        _write(target, piece)
        return
    moved = _copied_by_kernel(piece, target) if isinstance(piece.store, File) else 0
    while moved < piece.length:
        chunk = piece.store.read(piece.start + moved, min(_CHUNK, piece.length - moved))
        if not chunk:
            raise EOFError("the file ends too early")
        _write(target, chunk)
        moved += len(chunk)


def _copied_by_kernel(piece: Range, target: int) -> int:
    # How many bytes it copied: all, or less on a file system or a system without it.
    copy = getattr(os, "copy_file_range", None)
    moved = 0
    if copy is None or not isinstance(piece.store, File):
        return moved
    while moved < piece.length:
        left = min(_AT_ONCE, piece.length - moved)
        try:
            count = copy(piece.store.descriptor, target, left, piece.start + moved)
        except OSError:
            break  # what really is wrong shows in the plain copy that follows
        if count == 0:
            break
        moved += count
    return moved


def _write(target: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(target, view) :]
