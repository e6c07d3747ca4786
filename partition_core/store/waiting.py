"""Acquires locks that other processes hold, with a warning that names them if it takes long."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

WARN_AFTER = 2.0
"""Seconds that a process waits for a lock before it warns."""

_PAUSE = 0.05
_LOCKS = Path("/proc/locks")
_LONGEST = 100


def acquire(lock: FileLock, what: str, warn: Callable[[str], None]) -> None:
    """Acquire a lock; after `WARN_AFTER`, warn which process holds it. `what` says what it does."""
    try:
        lock.acquire(timeout=WARN_AFTER)
    except Timeout:
        warn(_waiting(Path(lock.lock_file), what))
        lock.acquire()


def lock_range(handle: int, kind: int, path: Path, what: str, warn: Callable[[str], None]) -> None:
    """Lock the open file `handle` at `path`, shared or exclusive; warn as `acquire` does."""
    end = time.monotonic() + WARN_AFTER
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
    names = ", ".join(map(_described, holders)) or "another process"
    return f"waiting for {names}, {what}"


def _holders(path: Path) -> set[int]:
    """Return the processes that hold a lock of the file at `path`, as far as /proc lists them."""
    try:
        inode = str(path.stat().st_ino)
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return set()
    processes = set()
    for line in lines:
        fields = line.split()
        # `1: POSIX ADVISORY WRITE 712 08:01:1234 0 EOF`; `->` stands before one that waits.
        if len(fields) > 5 and "->" not in fields and fields[5].rpartition(":")[2] == inode:
            processes.add(int(fields[4]))
    return {process for process in processes if process > 0}


def _described(process: int) -> str:
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {process}"
    shown = " ".join(os.fsdecode(word) for word in words if word)
    plain = "".join(char if char.isprintable() else " " for char in shown)
    command = plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
    return f"process {process} (`{command}`)" if command else f"process {process}"
