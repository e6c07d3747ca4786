"""The door to the disk: digests of files, remembered, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NewType

Digest = NewType("Digest", str)
"""The SHA-256 of some bytes, as 64 lower-case hex digits."""

_SETTLED_AFTER = 1.0
_CHUNK = 1 << 20
_FICLONE = 0x40049409
_SHARED = 0o644
READ_ONLY = 0o444


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
            identity = _identity(path)
            known, digest, _ = self._known.get(os.path.abspath(path), ("", "", 0.0))
            if known == identity:
                return Digest(digest)
            found = file_digest(path)
        except OSError:
            return None
        self._remember(path, identity, found)
        return found

    def learn(self, path: Path, digest: Digest) -> None:
        """Take the digest of a file that has just been written, read or verified."""
        with contextlib.suppress(OSError):
            self._remember(path, _identity(path), digest)

    def _remember(self, path: Path, identity: str, digest: Digest) -> None:
        self._known[os.path.abspath(path)] = (identity, digest, time.time())
        self._new = True

    def save(self) -> None:
        """Remember the digests for the next run; a disk that refuses costs only time.

        Files that are gone are forgotten. So is a file that changed a moment before it was
        read: it could have changed again within one tick of its clock.
        """
        if not self._new:
            return
        kept = {
            name: [identity, digest, read]
            for name, (identity, digest, read) in self._known.items()
            if os.path.exists(name) and read - _changed(identity) > _SETTLED_AFTER
        }
        with contextlib.suppress(OSError):
            remove_parts(self._memory)
            write_whole(self._memory, json.dumps(kept).encode())
        self._new = False


def _identity(path: Path) -> str:
    found = path.stat()
    return f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _changed(identity: str) -> float:
    return int(identity.rsplit(":", 1)[1]) / 1e9


def _read_memory(memory: Path) -> dict[str, tuple[str, str, float]]:
    try:
        content = json.loads(memory.read_bytes())
        return {
            str(name): (str(identity), str(digest), float(read))
            for name, (identity, digest, read) in content.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # a memory that cannot be read is an empty one


@contextlib.contextmanager
def written_whole(target: Path, mode: int = _SHARED) -> Iterator[Path]:
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
        _sync(part)
        part.chmod(mode & ~_umask())
        part.replace(target)
        _sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def write_whole(target: Path, content: bytes, mode: int = _SHARED) -> None:
    """Write `content` to `target` so that a reader sees all of it or what was there before."""
    with written_whole(target, mode) as part:
        part.write_bytes(content)


def is_readable_file(path: Path) -> bool:
    """Return whether `path` is a file of its own, no link to one, that its owner may read."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & stat.S_IRUSR)


def remove_parts(target: Path) -> None:
    """Remove what a killed process left beside `target` of its attempts to write it."""
    with contextlib.suppress(OSError):
        for part in target.parent.glob(f".{target.name}.*.part"):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Hold a folder until the end, or until this process dies; raises OSError if another does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def copy_verified(source: Path, target: Path, digest: Digest) -> bool:
    """Copy `source` to `target`, whole; return False, without a copy, if it has another digest.

    Where the file system can, the copy shares its blocks with the source until one is written.
    """
    try:
        with written_whole(target) as part:
            found = file_digest(part) if _cloned(source, part) else _copied(source, part)
            if found != digest:
                raise _OtherDigestError
    except _OtherDigestError:
        return False
    return True


def link_whole(source: Path, target: Path) -> None:
    """Let `target` hold the bytes of `source`, whole and read-only; a target that exists stays.

    On one disk they become the same file, which nobody may change from then on.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    source.chmod(READ_ONLY)
    _sync(source)
    try:
        os.link(source, target)
        _sync(target.parent)
    except FileExistsError:
        return
    except OSError:  # another disk, or one without links
        with written_whole(target, READ_ONLY) as part:
            shutil.copyfile(source, part)


class _OtherDigestError(Exception):
    """The bytes that were copied are not those that were promised."""


def _cloned(source: Path, target: Path) -> bool:
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            return False
    return True


def _copied(source: Path, target: Path) -> Digest:
    sha256 = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            sha256.update(chunk)
            writer.write(chunk)
    return Digest(sha256.hexdigest())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
