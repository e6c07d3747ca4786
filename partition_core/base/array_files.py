"""Reads files of arrays that anyone may have written; needs numpy and no more."""

from __future__ import annotations

import contextlib
import math
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from partition_core.base.arrays import Array
from partition_core.base.outside_files import opened

FREE = 256 << 20
"""Bytes that arrays may have whatever the size of their file."""
PACKED = 8
"""Times the size of their file that larger arrays may have: floats are hardly packed at all."""

_UNREADABLE = (
    *(ValueError, EOFError, AttributeError, KeyError, TypeError, SyntaxError, RuntimeError),
    *(NotImplementedError, OverflowError, RecursionError, MemoryError, zipfile.BadZipFile),
    *(zlib.error, tokenize.TokenError),
)


def arrays_in(path: Path) -> dict[str, Array]:
    """Return the arrays in the `.npz` file at `path`, by name.

    Raises OSError, and ValueError for what is no such file, has objects in it, or would fill more
    memory than its size lets expect.
    """
    # An open stream, since numpy leaves a file open that it cannot read.
    with opened(path) as stream:
        try:
            _check_sizes(stream)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as found:
                return {name: _array(found, name) for name in found.files}
        except _UNREADABLE as error:
            raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _array(found: Any, name: str) -> Array:
    array = found[name]
    if not isinstance(array, np.ndarray):  # the bytes of a file of another kind
        raise ValueError(f"'{name}' is no array")
    return array


def _check_sizes(stream: BinaryIO) -> None:
    """Raise ValueError for arrays that are larger than their file lets expect, or than they say.

    What is no archive is left to numpy, which tells it in its own words.
    """
    with contextlib.ExitStack() as held:
        try:
            archive = held.enter_context(zipfile.ZipFile(stream))
        except zipfile.BadZipFile:
            return
        most = max(FREE, PACKED * os.fstat(stream.fileno()).st_size)
        total = sum(member.file_size for member in archive.infolist())
        if total > most:
            raise ValueError(f"its arrays have {total} bytes, and {most} at most are read")
        for member in archive.infolist():
            with archive.open(member) as content:
                told = _told_size(content)
            if told > member.file_size:
                raise ValueError(
                    f"'{member.filename}' says that it has {told} bytes, and it has "
                    f"{member.file_size}"
                )


def _told_size(content: Any) -> int:
    try:
        version = np.lib.format.read_magic(content)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, _, dtype = readers[version](content)
    except (ValueError, KeyError):
        return 0  # numpy tells it
    return math.prod(shape) * dtype.itemsize
