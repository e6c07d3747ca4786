"""The disk: digests of files, and atomic writes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import NewType

from partition_core.base.disk_errors import writing
from partition_core.base.file_stamp import boot
from partition_core.base.outside_files import opened
from partition_core.base.signals import unfinished

Digest = NewType("Digest", str)
"""A SHA-256, as 64 lower-case hex digits."""

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
    with opened(path) as stream:
        return Digest(hashlib.file_digest(stream, "sha256").hexdigest())


@contextlib.contextmanager
def written_whole(
    target: Path, mode: int = _SHARED, survives_power_loss: bool = True
) -> Iterator[Path]:
    """Yield a path to write to; at the end, without an error, it atomically becomes `target`.

    The file is created in the target's folder, synced to the disk and renamed, and removed after
    an error. A file that need not survive a power loss is not synced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    with unfinished(part), writing(target):
        part.touch(0o600, exist_ok=False)
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
    """Write `content` to `target` atomically: a reader sees all of it or the old content."""
    with written_whole(target, mode) as part:
        part.write_bytes(content)


def is_readable_file(path: Path) -> bool:
    """Return whether `path` is a regular file, not a symlink, that its owner may read."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & stat.S_IRUSR)


def remove_parts(target: Path) -> None:
    """Remove temporary files of killed processes that were writing `target`."""
    with contextlib.suppress(OSError):
        for part in target.parent.glob(f".{target.name}.*.part"):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder until the end, or until this process dies; raises OSError if it is locked."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def write_memory(target: Path, content: bytes) -> None:
    """Write a cache file to `target`; an error of the disk is ignored.

    Two processes may do so at once: one of them wins.
    """
    remove_parts(target)
    with contextlib.suppress(OSError):
        write_whole(target, content)


def copy_verified(source: Path, target: Path, digest: Digest) -> bool:
    """Copy `source` to `target` atomically; return False, without a copy, on a digest mismatch.

    If the file system supports it, the copy is a reflink. A power loss may damage the copy; no
    remembered digest is valid after a restart of the machine.
    """
    try:
        with written_whole(target, survives_power_loss=not boot()) as part:
            actual = file_digest(part) if _cloned(source, part) else _copied(source, part)
            if actual != digest:
                raise _DigestMismatchError
    except _DigestMismatchError:
        return False
    return True


def link_whole(source: Path, target: Path) -> None:
    """Hard-link `source` to `target`, or copy it atomically, read-only; keep an existing target.

    On one disk they become the same file, which must not be changed from then on.
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
    """Hard-link `source` to `target`, which must not exist, or copy it if that is impossible."""
    try:
        os.link(source, target)
    except OSError:  # another disk, one without links, or a file of another user
        shutil.copyfile(source, target)


class _DigestMismatchError(Exception):
    """The copied bytes do not have the expected digest."""


def _cloned(source: Path, target: Path) -> bool:
    with opened(source) as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            return False
    return True


def _copied(source: Path, target: Path) -> Digest:
    """Copy the bytes; return the digest of the copy, which another thread reads back meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    sha256 = hashlib.sha256()
    with (
        source.open("rb", buffering=0) as reader,
        target.open("w+b", buffering=0) as writer,
        ThreadPoolExecutor(1) as hasher,
    ):
        buffer = memoryview(bytearray(_BUFFER))

        def hash_part(start: int, end: int) -> None:
            while start < end:
                count = os.preadv(writer.fileno(), [buffer[: end - start]], start)
                sha256.update(buffer[:count])
                start += count

        parts, copied = [], 0
        while count := _copy_part(reader, writer):
            parts.append(hasher.submit(hash_part, copied, copied + count))
            copied += count
        for part in parts:
            part.result()
    return Digest(sha256.hexdigest())


def _copy_part(reader: FileIO, writer: FileIO) -> int:
    """Copy the next bytes, inside the kernel if possible; return how many."""
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
