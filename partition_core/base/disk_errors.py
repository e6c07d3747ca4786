"""Errors of a disk that name the file which was written; imports little, as a cut is short."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_SPARE = 1 << 20
"""Bytes that a disk may have left and still take no more: it hands out blocks."""


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Let an error of the disk name `target`, which is written meanwhile, unless it names a file.

    What numpy raises where only a part was taken names neither the file nor the reason.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(target)
        if error.errno is None:
            error.errno = errno.ENOSPC if _is_full(target.parent) else errno.EIO
            error.strerror = os.strerror(error.errno)
        raise


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _SPARE
    except OSError:
        return False
