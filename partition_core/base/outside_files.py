"""Reads files that anyone may have put there: files alone, and no more than fits the memory.

Opening a pipe lasts until someone writes to it, and reading a device may never end. Imports next
to nothing.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from io import BufferedReader

LARGEST_TEXT = 16 << 20
"""Bytes that are read of text from elsewhere: as JSON they take twenty times as many in memory."""
LARGEST_OWN = 8 * LARGEST_TEXT
"""Bytes that are read of a JSON file of this machine."""

_CHECKSUM = "checksum"
_FOLDER, _INVALID, _TOO_LARGE = 21, 22, 27  # errno.h: EISDIR, EINVAL, EFBIG


def descriptor_of(path: str | os.PathLike[str], flags: int = 0) -> int:
    """Open the file at `path` for reading; raises OSError, also for what is no regular file."""
    name = os.fspath(path)
    if "\0" in name:
        raise OSError(_INVALID, "no path can hold the character NUL", name.replace("\0", "\\0"))
    always = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_BINARY", 0)
    descriptor = os.open(name, flags | always)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(_FOLDER, os.strerror(_FOLDER), name)
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a device"
    raise OSError(_INVALID, f"it is {kind} and no file", name)


def opened(path: Path) -> BufferedReader:
    """Open the file at `path` for reading; raises OSError as `descriptor_of` does."""
    return os.fdopen(descriptor_of(path), "rb")


def content_of(path: Path, most: int = LARGEST_TEXT) -> bytes:
    """Return the bytes of the file at `path`; raises OSError, also for more than `most`."""
    with opened(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(_TOO_LARGE, f"it has more than {most} bytes", str(path))
    return content


def json_in(path: Path) -> Any:
    """Return what the JSON file at `path` holds; raises OSError, and ValueError if it is none."""
    return parsed_json(content_of(path, LARGEST_OWN))


def memory_in(path: Path) -> dict[str, Any]:
    """Return what an earlier run wrote with `memory_text`; raises OSError, and ValueError.

    Damage that leaves it JSON would be believed otherwise.
    """
    held = json_in(path)
    if not isinstance(held, dict) or held.pop(_CHECKSUM, None) != _checksum(held):
        raise ValueError("it is not as it was written")
    return held


def memory_text(held: Mapping[str, Any]) -> bytes:
    """Return the content of a file that remembers `held` until a later run."""
    return json.dumps({**held, _CHECKSUM: _checksum(held)}).encode()


def _checksum(held: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(held).encode())


def parsed_json(content: bytes) -> Any:
    """Return what the JSON `content` holds; raises ValueError, also if it is nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
