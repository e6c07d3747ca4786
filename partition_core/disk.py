"""The door to the disk: digests of files, remembered, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NewType

Digest = NewType("Digest", str)
"""The SHA-256 of some bytes, as 64 lower-case hex digits."""

_SETTLED_AFTER = 1.0
_CHUNK = 1 << 20


def digest_of(content: bytes) -> Digest:
    """Return the digest of `content`."""
    return Digest(hashlib.sha256(content).hexdigest())


def file_digest(path: Path) -> Digest:
    """Return the digest of the bytes of the file at `path`; raises OSError."""
    with path.open("rb") as stream:
        return Digest(hashlib.file_digest(stream, "sha256").hexdigest())


class Digests:
    """Digests of files, remembered across runs in the file `memory`.

    A digest is believed for as long as the file's identity, size, and times of change of
    content and of status are the same; no program can set the last of them.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known = _read_memory(memory)
        self._new = False

    def of(self, path: Path) -> Digest | None:
        """Return the digest of the file at `path`, or None if there is no such file."""
        try:
            stat = path.stat()
        except OSError:
            return None
        identity = f"{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"
        name = os.path.abspath(path)
        known, digest = self._known.get(name, ("", ""))
        if known == identity:
            return Digest(digest)
        try:
            found = file_digest(path)
        except OSError:
            return None
        # A file that changed a moment ago can change again within one tick of its clock.
        if time.time() - stat.st_ctime > _SETTLED_AFTER:
            self._known[name] = (identity, found)
            self._new = True
        return found

    def save(self) -> None:
        """Remember the digests for the next run; a disk that refuses costs only time."""
        if self._new:
            with contextlib.suppress(OSError):
                write_whole(self._memory, json.dumps(self._known).encode())
            self._new = False


def _read_memory(memory: Path) -> dict[str, tuple[str, str]]:
    try:
        content = json.loads(memory.read_bytes())
        return {str(name): (str(known), str(digest)) for name, (known, digest) in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # a memory that cannot be read is an empty one


@contextlib.contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Yield a path to write to; at the end, without an error, it becomes `target` at once.

    The file is made in the target's folder, synced to the disk and renamed. After an error
    there is no trace of it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.chmod(0o644 & ~_umask())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def write_whole(target: Path, content: bytes) -> None:
    """Write `content` to `target` so that a reader sees all of it or what was there before."""
    with written_whole(target) as part:
        part.write_bytes(content)


def copy_verified(source: Path, target: Path, digest: Digest) -> bool:
    """Copy `source` to `target`, whole; return False, without a copy, if it has another digest."""
    try:
        with written_whole(target) as part:
            if _copy(source, part) != digest:
                raise _OtherDigestError
    except _OtherDigestError:
        return False
    return True


class _OtherDigestError(Exception):
    """The bytes that were copied are not those that were promised."""


def _copy(source: Path, target: Path) -> Digest:
    sha256 = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            sha256.update(chunk)
            writer.write(chunk)
    return Digest(sha256.hexdigest())


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
