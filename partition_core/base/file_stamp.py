"""Identities of files: their metadata as text, without reading them. Imports next to nothing."""

from __future__ import annotations

import os

SETTLED_AFTER = 1.0
"""Seconds after a change until a further change is sure to change the file's identity."""

MISSING = "missing"
VARIABLE_SIGN = "$"
"""The prefix of a variable's name among paths."""

_FOLDER = "folder"


def identity(path: str | os.PathLike[str]) -> str:
    """Return the inode, size, mtime and ctime of a file as text; `MISSING` without a file.

    No program can set the ctime. The identity of a folder changes if a name in it is added or
    removed, but not with the content of its files.
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
    """Return a digest of a variable's value, which may be a secret; `MISSING` if unset."""
    value = os.environ.get(name)
    if value is None:
        return MISSING
    from hashlib import sha256  # needed only for variables

    return sha256(os.fsencode(value)).hexdigest()


def changed(stamp: str) -> float:
    """Return the time of the last change in an identity, in seconds since 1970; 0 for none."""
    return int(stamp.rsplit(":", 1)[1]) / 1e9 if ":" in stamp else 0.0


def boot() -> str:
    """Return the id of the current boot of the machine; empty if unknown.

    After a power loss a file may have its old identity but lack bytes that were written.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
