"""Locks of other processes, waited for: after a moment it is told for whom."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

SILENT = 2.0
"""Seconds that a process waits before it says so."""

_PAUSE = 0.05
_LOCKS = Path("/proc/locks")
_LONGEST = 100


def acquire(lock: FileLock, what: str, warn: Callable[[str], None]) -> None:
    """Take a lock; tell whoever holds it that long, and that it is for `what`."""
    try:
        lock.acquire(timeout=SILENT)
    except Timeout:
        warn(_waiting(Path(lock.lock_file), what))
        lock.acquire()


def lock_range(handle: int, kind: int, path: Path, what: str, warn: Callable[[str], None]) -> None:
    """Take the lock of the open file `handle` at `path`, shared or exclusive; tell as `acquire`."""
    end = time.monotonic() + SILENT
    while time.monotonic() < end:
        try:
            fcntl.lockf(handle, kind | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX lets it be either
            time.sleep(_PAUSE)
        else:
            return
    warn(_waiting(path, what))
    fcntl.lockf(handle, kind)


def _waiting(path: Path, what: str) -> str:
    holders = sorted(_holders(path) - {os.getpid()})
    told = ", ".join(map(_called, holders)) or "another process"
    return f"waiting for {told}, {what}"


def _holders(path: Path) -> set[int]:
    """Return the processes that hold a lock of the file at `path`, as far as the system tells."""
    try:
        inode = str(path.stat().st_ino)
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return set()
    found = set()
    for line in lines:
        fields = line.split()
        # `1: POSIX ADVISORY WRITE 712 08:01:1234 0 EOF`; `->` stands before one that waits.
        if len(fields) > 5 and "->" not in fields and fields[5].rpartition(":")[2] == inode:
            found.add(int(fields[4]))
    return {process for process in found if process > 0}


def _called(process: int) -> str:
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {process}"
    shown = " ".join(os.fsdecode(word) for word in words if word)
    plain = "".join(char if char.isprintable() else " " for char in shown)
    command = plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
    return f"process {process} (`{command}`)" if command else f"process {process}"
