"""Makes disk errors name the file being written; imports little, since a cut is short."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_SPARE = 1 << 20
"""Free bytes below which a disk counts as full, since it allocates blocks."""


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Make an OSError without a file name `target`, which is written meanwhile.

    After a partial write, numpy's exception names neither the file nor the reason.
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
