"""Reads untrusted files of arrays; needs only numpy."""

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
from partition_core.base.wording import one_line

FREE = 256 << 20
"""Bytes that arrays may have regardless of the size of their file."""
PACKED = 8
"""The highest compression ratio of larger arrays: floats hardly compress."""

_UNREADABLE = (
    *(ValueError, EOFError, AttributeError, KeyError, TypeError, SyntaxError, RuntimeError),
    *(NotImplementedError, OverflowError, RecursionError, MemoryError, zipfile.BadZipFile),
    *(zlib.error, tokenize.TokenError),
)


def arrays_in(path: Path) -> dict[str, Array]:
    """Return the arrays in the `.npz` file at `path`, by name.

    Raises OSError, and ValueError for other files, for objects, and for arrays far larger than the
    file.
    """
    # An open stream, since numpy does not close a file that it cannot read.
    with opened(path) as stream:
        try:
            _check_sizes(stream)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                return {name: _array(archive, name) for name in archive.files}
        except _UNREADABLE as error:
            raise ValueError(one_line(error) or type(error).__name__) from error


def _array(archive: Any, name: str) -> Array:
    array = archive[name]
    if not isinstance(array, np.ndarray):  # the bytes of another kind of file
        raise ValueError(f"'{name}' is not an array")
    return array


def _check_sizes(stream: BinaryIO) -> None:
    """Raise ValueError for arrays far larger than their file, or larger than their headers claim.

    A file that is not an archive is left to numpy, which reports it itself.
    """
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(stream))
        except zipfile.BadZipFile:
            return
        most = max(FREE, PACKED * os.fstat(stream.fileno()).st_size)
        total = sum(member.file_size for member in archive.infolist())
        if total > most:
            raise ValueError(f"its arrays have {total} bytes, but at most {most} are read")
        for member in archive.infolist():
            with archive.open(member) as content:
                claimed = _claimed_size(content)
            if claimed > member.file_size:
                raise ValueError(
                    f"the header of '{member.filename}' claims {claimed} bytes, but it has "
                    f"{member.file_size}"
                )


def _claimed_size(content: Any) -> int:
    try:
        version = np.lib.format.read_magic(content)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, _, dtype = readers[version](content)
    except (ValueError, KeyError):
        return 0  # numpy reports it
    return math.prod(shape) * dtype.itemsize
