"""Identities of files: what the disk says of a file without reading it. Imports next to nothing."""

from __future__ import annotations

import os

SETTLED_AFTER = 1.0
"""Seconds after its change from which on a file's identity tells whether it changed again."""

MISSING = "missing"
VARIABLE_SIGN = "$"
"""What the name of a variable starts with where paths have their identities."""

_FOLDER = "folder"


def identity(path: str | os.PathLike[str]) -> str:
    """Return the inode, size, and times of change of content and of status of a file, as text.

    No program can set the last of them. That of a folder tells whether a name in it came or went,
    and nothing of what is in its files. Without a file it is `MISSING`.
    """
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return MISSING
    size = _FOLDER if stat.st_mode & 0o170000 == 0o040000 else str(stat.st_size)
    return f"{stat.st_ino}:{size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def identity_now(name: str) -> str:
    """Return the identity of the file at a path, or of a variable, `$NAME`."""
    return variable(name[1:]) if name.startswith(VARIABLE_SIGN) else identity(name)


def variable(name: str) -> str:
    """Return what stands for the value of a variable, which may be a secret; or `MISSING`."""
    value = os.environ.get(name)
    if value is None:
        return MISSING
    from hashlib import sha256  # of use only where a variable counts

    return sha256(os.fsencode(value)).hexdigest()


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
