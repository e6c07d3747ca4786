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
from io import FileIO
from pathlib import Path
from typing import NewType

from partition_core.identity import MISSING, SETTLED_AFTER, boot, changed, identity

Digest = NewType("Digest", str)
"""The SHA-256 of some bytes, as 64 lower-case hex digits."""

_BUFFER = 256 << 10
_PART = 16 << 20
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

    A digest is believed for as long as the file's identity is the same and the machine runs.
    `seen` has the identity of each path when it was asked for last.
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

    @contextlib.contextmanager
    def watched(self) -> Iterator[dict[str, str]]:
        """Yield a dict which gets the identity of each path that is asked for meanwhile."""
        before, self.seen = self.seen, {}
        try:
            yield self.seen
        finally:
            self.seen = {**before, **self.seen}

    def learn(self, path: Path, digest: Digest) -> None:
        """Take the digest of a file that has just been written, read or verified."""
        told = identity(path)
        if told != MISSING:
            self._remember(os.path.abspath(path), told, digest)

    @contextlib.contextmanager
    def kept(self, path: Path, digest: Digest) -> Iterator[None]:
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
        write_memory(self._memory, json.dumps(content).encode())
        self._new = False


def _read_memory(memory: Path) -> dict[str, tuple[str, str, float]]:
    try:
        content = json.loads(memory.read_bytes())
        if content["boot"] != boot():
            return {}
        return {
            str(name): (str(told), str(digest), float(read))
            for name, (told, digest, read) in content["digests"].items()
        }
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}  # a memory that cannot be read is an empty one


@contextlib.contextmanager
def written_whole(
    target: Path, mode: int = _SHARED, survives_power_loss: bool = True
) -> Iterator[Path]:
    """Yield a path to write to; at the end, without an error, it becomes `target` at once.

    The file is made in the target's folder, synced to the disk and renamed. After an error
    there is no trace of it. A file that need not survive a loss of power is not synced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        if survives_power_loss:
            _sync(part)
        part.chmod(mode & ~_umask())
        part.replace(target)
        if survives_power_loss:
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


def write_memory(target: Path, content: bytes) -> None:
    """Write what only saves time to `target`; a disk that refuses costs that time.

    Two processes may do so at once: one of them wins.
    """
    remove_parts(target)
    with contextlib.suppress(OSError):
        write_whole(target, content)


def copy_verified(source: Path, target: Path, digest: Digest) -> bool:
    """Copy `source` to `target`, whole; return False, without a copy, if it has another digest.

    Where the file system can, the copy shares its blocks with the source until one is written.
    A loss of power may damage the copy; no digest is believed after a restart of the machine.
    """
    try:
        with written_whole(target, survives_power_loss=not boot()) as part:
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


def link_or_copy(source: Path, target: Path) -> None:
    """Let `target`, which does not exist, hold the bytes of `source`: one file where it can be."""
    try:
        os.link(source, target)
    except OSError:  # another disk, one without links, or a file of another user
        shutil.copyfile(source, target)


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
    """Copy the bytes and return the digest of the copy, which another thread reads meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    sha256 = hashlib.sha256()
    with (
        source.open("rb", buffering=0) as reader,
        target.open("w+b", buffering=0) as writer,
        ThreadPoolExecutor(1) as other,
    ):
        buffer = memoryview(bytearray(_BUFFER))

        def hash_part(start: int, end: int) -> None:
            while start < end:
                count = os.preadv(writer.fileno(), [buffer[: end - start]], start)
                sha256.update(buffer[:count])
                start += count

        parts, copied = [], 0
        while count := _copy_part(reader, writer):
            parts.append(other.submit(hash_part, copied, copied + count))
            copied += count
        for part in parts:
            part.result()
    return Digest(sha256.hexdigest())


def _copy_part(reader: FileIO, writer: FileIO) -> int:
    """Copy the next bytes, inside the kernel where it can; return how many."""
    try:
        return os.copy_file_range(reader.fileno(), writer.fileno(), _PART)
    except (AttributeError, OSError):  # another system, or another disk
        rest = memoryview(reader.read(_BUFFER))
        count = len(rest)
        while rest:
            rest = rest[writer.write(rest) :]
        return count


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
