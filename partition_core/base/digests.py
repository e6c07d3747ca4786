"""Digests of files, remembered across runs for as long as the files stay the same."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from partition_core.base.disk import Digest, file_digest, write_memory
from partition_core.base.file_stamp import (
    MISSING,
    SETTLED_AFTER,
    VARIABLE_SIGN,
    boot,
    changed,
    identity,
    variable,
)
from partition_core.base.outside_files import memory_in, memory_text


class Digests:
    """Digests of files, remembered across runs in the file `memory`.

    A digest is valid as long as the file's identity is the same and the machine runs. `stamps` has
    the identity of each path, or variable (`$NAME`), at its last lookup.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known = _read_memory(memory)
        self._new = False
        self.stamps: dict[str, str] = {}

    def of(self, path: Path) -> Digest | None:
        """Return the digest of the file at `path`, or None if there is no such file."""
        name, stamp = os.path.abspath(path), self.look(path)
        known, digest, _ = self._known.get(name, ("", "", 0.0))
        if known == stamp:
            return Digest(digest)
        try:
            computed = file_digest(path)
        except OSError:
            return None
        self._remember(name, stamp, computed)
        return computed

    def look(self, path: Path) -> str:
        """Return the identity of a file, or of anything else at its path, without reading it."""
        self.stamps[os.path.abspath(path)] = stamp = identity(path)
        return stamp

    def look_at_variable(self, name: str) -> str:
        """Return the identity of an environment variable's value."""
        self.stamps[f"{VARIABLE_SIGN}{name}"] = stamp = variable(name)
        return stamp

    @contextlib.contextmanager
    def watched(self) -> Iterator[dict[str, str]]:
        """Yield a dict that collects the identity of each path looked up meanwhile."""
        before, self.stamps = self.stamps, {}
        try:
            yield self.stamps
        finally:
            before.update(self.stamps)
            self.stamps = before

    def learn(self, path: Path, digest: Digest) -> None:
        """Remember the digest of a file that has just been written, read or verified."""
        stamp = identity(path)
        if stamp != MISSING:
            self._remember(os.path.abspath(path), stamp, digest)

    @contextlib.contextmanager
    def keeping_digest(self, path: Path, digest: Digest) -> Iterator[None]:
        """Keep the digest of a verified file valid while a link to it is added or removed.

        That changes only its ctime.
        """
        content = attrgetter("st_ino", "st_size", "st_mtime_ns")
        before = content(path.stat())
        yield
        if content(path.stat()) == before:
            self.learn(path, digest)

    def _remember(self, name: str, stamp: str, digest: Digest) -> None:
        self._known[name] = (stamp, digest, time.time())
        self._new = True

    def save(self) -> None:
        """Write the digests for the next run; an error of the disk costs only time.

        Missing files are dropped. So is a file that changed just before it was read: it could have
        changed again within one tick of its clock.
        """
        if not self._new:
            return
        valid = {
            name: [stamp, digest, read]
            for name, (stamp, digest, read) in self._known.items()
            if os.path.exists(name) and read - changed(stamp) > SETTLED_AFTER
        }
        content = {"boot": boot(), "digests": valid}
        write_memory(self._memory, memory_text(content))
        self._new = False


def _read_memory(memory: Path) -> dict[str, tuple[str, str, float]]:
    try:
        content = memory_in(memory)
        if content["boot"] != boot():
            return {}
        return {
            str(name): (str(stamp), str(digest), float(read))
            for name, (stamp, digest, read) in content["digests"].items()
        }
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}  # an unreadable memory counts as empty
