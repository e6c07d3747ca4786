"""Digests of files, remembered across runs for as long as the files stay the same."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
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

    A digest is believed for as long as the file's identity is the same and the machine runs.
    `seen` has the identity of each path, or variable (`$NAME`), when it was asked for last.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known = _read_memory(memory)
        self._new = False
        self.seen: dict[str, str] = {}

    def of(self, path: Path) -> Digest | None:
        """Return the digest of the file at `path`, or None if there is no such file."""
        name, told = os.path.abspath(path), self.look(path)
        known, digest, _ = self._known.get(name, ("", "", 0.0))
        if known == told:
            return Digest(digest)
        try:
            found = file_digest(path)
        except OSError:
            return None
        self._remember(name, told, found)
        return found

    def look(self, path: Path) -> str:
        """Return the identity of a file, or of what is in its place, without reading it."""
        self.seen[os.path.abspath(path)] = told = identity(path)
        return told

    def look_at_variable(self, name: str) -> str:
        """Return what stands for the value of a variable of the environment."""
        self.seen[f"{VARIABLE_SIGN}{name}"] = told = variable(name)
        return told

    @contextlib.contextmanager
    def watched(self) -> Iterator[dict[str, str]]:
        """Yield a dict which gets the identity of each path that is asked for meanwhile."""
        before, self.seen = self.seen, {}
        try:
            yield self.seen
        finally:
            before.update(self.seen)
            self.seen = before

    def learn(self, path: Path, digest: Digest) -> None:
        """Take the digest of a file that has just been written, read or verified."""
        told = identity(path)
        if told != MISSING:
            self._remember(os.path.abspath(path), told, digest)

    @contextlib.contextmanager
    def keeping_digest(self, path: Path, digest: Digest) -> Iterator[None]:
        """Go on believing in a verified file that gets or loses a link meanwhile.

        That changes its ctime, and nothing else.
        """
        before = path.stat()
        yield
        after = path.stat()
        if (before.st_ino, before.st_size, before.st_mtime_ns) == (
            after.st_ino,
            after.st_size,
            after.st_mtime_ns,
        ):
            self.learn(path, digest)

    def _remember(self, name: str, told: str, digest: Digest) -> None:
        self._known[name] = (told, digest, time.time())
        self._new = True

    def save(self) -> None:
        """Remember the digests for the next run; a disk that refuses costs only time.

        Files that are gone are forgotten. So is a file that changed a moment before it was
        read: it could have changed again within one tick of its clock.
        """
        if not self._new:
            return
        kept = {
            name: [told, digest, read]
            for name, (told, digest, read) in self._known.items()
            if os.path.exists(name) and read - changed(told) > SETTLED_AFTER
        }
        content = {"boot": boot(), "digests": kept}
        write_memory(self._memory, memory_text(content))
        self._new = False


def _read_memory(memory: Path) -> dict[str, tuple[str, str, float]]:
    try:
        content = memory_in(memory)
        if content["boot"] != boot():
            return {}
        return {
            str(name): (str(told), str(digest), float(read))
            for name, (told, digest, read) in content["digests"].items()
        }
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}  # a memory that cannot be read is an empty one
