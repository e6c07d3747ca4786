"""Identities of files: what the disk says of a file without reading it. Imports next to nothing."""

from __future__ import annotations

import os

SETTLED_AFTER = 1.0
"""Seconds after its change from which on a file's identity tells whether it changed again."""

MISSING = "missing"
_FOLDER = "folder"


def identity(path: str | os.PathLike[str]) -> str:
    """Return the inode, size, and times of change of content and of status of a file, as text.

    No program can set the last of them. A folder has no identity of its own: what is in it may
    change. Without a file it is `MISSING`.
    """
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return MISSING
    if stat.st_mode & 0o170000 == 0o040000:
        return _FOLDER
    return f"{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def changed(told: str) -> float:
    """Return when the file of an identity was changed last, in seconds since 1970; 0 for none."""
    return int(told.rsplit(":", 1)[1]) / 1e9 if ":" in told else 0.0


def boot() -> str:
    """Return what names the time since the machine was started; empty where nothing tells it.

    After a loss of power a file may have its old identity and lack bytes that were written.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
