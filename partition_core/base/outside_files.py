"""Reads untrusted files: only regular files, and no more than fits in memory.

Opening a pipe blocks until a writer opens it, and reading a device may never end. Imports next to
nothing.
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
"""The most bytes of untrusted text: as JSON they take twenty times as much memory."""
LARGEST_OWN = 8 * LARGEST_TEXT
"""The most bytes of a JSON file of this machine."""

_CHECKSUM = "checksum"
_FOLDER, _INVALID, _TOO_LARGE = 21, 22, 27  # errno.h: EISDIR, EINVAL, EFBIG


def descriptor_of(path: str | os.PathLike[str], flags: int = 0) -> int:
    """Open the file at `path` for reading; raises OSError, also for anything but a regular file."""
    name = os.fspath(path)
    if "\0" in name:
        raise OSError(
            _INVALID, "a path cannot contain the character NUL", name.replace("\0", "\\0")
        )
    always = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_BINARY", 0)
    descriptor = os.open(name, flags | always)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(_FOLDER, os.strerror(_FOLDER), name)
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a device"
    raise OSError(_INVALID, f"it is {kind}, not a file", name)


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
    """Return the content of the JSON file at `path`; raises OSError, and ValueError if invalid."""
    return parsed_json(content_of(path, LARGEST_OWN))


def memory_in(path: Path) -> dict[str, Any]:
    """Return what an earlier run wrote with `memory_text`; raises OSError, and ValueError.

    The checksum detects damage that leaves valid JSON.
    """
    content = json_in(path)
    if not isinstance(content, dict) or content.pop(_CHECKSUM, None) != _checksum(content):
        raise ValueError("its checksum does not match")
    return content


def memory_text(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file with `content` and its checksum, for a later run."""
    return json.dumps({**content, _CHECKSUM: _checksum(content)}).encode()


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())


def parsed_json(content: bytes) -> Any:
    """Return the value of the JSON `content`; raises ValueError, also if nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
