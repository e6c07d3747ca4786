"""A store in one folder: `ac/<key>` holds entries, `cas/<digest>` files, verified when read."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from partition_core.base.digests import Digests
from partition_core.base.disk import (
    READ_ONLY,
    Digest,
    copy_verified,
    digest_of,
    file_digest,
    link_or_copy,
    link_whole,
    locked_folder,
    write_whole,
)
from partition_core.base.outside_files import content_of
from partition_core.base.signals import temporary_folder
from partition_core.store.entry import Fits, Result, StoredFile, any_result, decode, encode
from partition_core.store.waiting import acquire, lock_range

LAYOUT = "v1"
_USE = "use.lock"
_PART = re.compile(r"^\.(?=.*\.part$)|\.[^.]+\.part$")
"""The prefix and suffix of a temporary file's name."""
_USED_AGAIN_AFTER = 3600.0


class LocalStore:
    """Entries and files below `folder`, each written once, atomically, and never changed.

    Methods raise OSError for errors of the disk.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.folder = folder / LAYOUT
        self._warn = warn
        self._use: int | None = None

    @functools.cached_property
    def _digests(self) -> Digests:
        """Digests of the store's files, remembered for all projects of the machine."""
        return Digests(self.folder / "digests.json")

    def save(self) -> None:
        """Remember for the next process which files were verified."""
        if "_digests" in vars(self):
            self._digests.save()

    def entry(self, key: str, is_used: bool = True, fits: Fits = any_result) -> Result | None:
        """Return the result of `key`, or None; its files are not read.

        An entry that is damaged or does not fit is quarantined. `is_used` marks the result as
        used now.
        """
        path = self.entry_path(key)
        self._register_use()
        try:
            content = content_of(path)
            result = decode(key, content)
            if result is None or not fits(result) or not self._has_sizes(result):
                self.quarantine(path)
                return None
            if is_used and time.time() - path.stat().st_mtime > _USED_AGAIN_AFTER:
                with contextlib.suppress(OSError):
                    os.utime(path)  # the time of last use
        except OSError:
            self._clear(path)
            return None
        return result

    def _has_sizes(self, result: Result) -> bool:
        """Return whether those files of a result that are here have the sizes in its entry."""
        for file in result.files.values():
            with contextlib.suppress(FileNotFoundError):
                differs = self.file_path(file.digest).stat().st_size != file.size
                # Not the entry's fault if the file itself is damaged.
                if differs and self.path_of(file) is not None:
                    return False
        return True

    def path_of(self, file: StoredFile) -> Path | None:
        """Return the path of `file`, verified, for reading only; None if it is missing.

        A damaged file is quarantined.
        """
        path = self.file_path(file.digest)
        digest = self._digests.of(path)
        if digest is None:
            self._clear(path)
            return None
        if digest == file.digest:
            return path
        self.quarantine(path)
        return None

    def put_file(self, path: Path) -> StoredFile:
        """Store the file at `path`, which must not be changed from now on."""
        digest = file_digest(path)
        file = StoredFile(digest, path.stat().st_size)
        target = self.file_path(digest)
        if self.path_of(file) is None:
            link_whole(path, target)
        self._digests.learn(target, digest)
        return file

    def put_entry(self, key: str, result: Result) -> None:
        """Store the entry of `key`; its files must be here already."""
        write_whole(self.entry_path(key), encode(key, result), mode=READ_ONLY)

    @contextlib.contextmanager
    def linked(self, file: StoredFile, target: Path) -> Iterator[bool]:
        """Link `file` to `target`, for reading only; yield False if it is missing.

        `target` is removed at the end.
        """
        source = self.path_of(file)
        if source is None:
            yield False
            return
        with self._digests.keeping_digest(source, file.digest):
            link_or_copy(source, target)
        try:
            yield True
        finally:
            with self._digests.keeping_digest(source, file.digest):
                target.unlink(missing_ok=True)

    def restore(self, file: StoredFile, target: Path) -> bool:
        """Copy `file` to `target` atomically, verified; return False if missing or damaged."""
        source = self.path_of(file)
        if source is None:
            return False
        if copy_verified(source, target, file.digest):
            return True
        self.quarantine(source)
        return False

    def entries(self) -> Iterator[tuple[str, Path]]:
        """Yield the key and the path of every entry, sorted."""
        paths = sorted((self.folder / "ac").glob("??/*"))
        yield from ((path.name, path) for path in paths if not path.name.startswith("."))

    def files(self) -> Iterator[tuple[Digest, Path]]:
        """Yield the digest and the path of every stored file, sorted."""
        paths = sorted((self.folder / "cas").glob("??/*"))
        yield from ((Digest(p.name), p) for p in paths if not p.name.startswith("."))

    def checkpoints(self) -> Iterator[Path]:
        """Yield the path of every checkpoint, complete or partial, sorted."""
        yield from sorted((self.folder / "checkpoints").glob("*"))

    def leftovers(self) -> Iterator[Path]:
        """Yield what is not needed while no build runs: quarantine, private folders and locks."""
        for name in ("quarantine", "work", "locks"):
            yield from sorted((self.folder / name).glob("*"))
        yield from sorted(self.folder.glob("*/*/.*.part"))

    def add_user(self, root: Path) -> None:
        """Register the project in the folder `root`, so that `prune` keeps its results."""
        path = self.folder / "users" / digest_of(str(root).encode())[:16]
        if not path.exists():
            write_whole(path, str(root).encode())

    def users(self) -> Iterator[Path]:
        """Yield the folder of every project that was built with this store and still exists."""
        for path in sorted((self.folder / "users").glob("*")):
            with contextlib.suppress(OSError):
                root = Path(os.fsdecode(content_of(path)))
                if root.is_dir():
                    yield root

    def _register_use(self) -> None:
        """Hold the shared lock, which excludes `exclusive`, for the life of this process."""
        if self._use is None and self.folder.is_dir():
            with contextlib.suppress(OSError):
                self._use = os.open(self.folder / _USE, os.O_RDWR | os.O_CREAT, 0o644)
                lock_range(
                    self._use,
                    fcntl.LOCK_SH,
                    self.folder / _USE,
                    f"which is removing results from the store '{self.folder}'",
                    self._warn,
                )

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the store: wait for the builds that use it, and let new ones wait.

        Results that this process has looked up before may be removed.
        """
        # A POSIX lock is per process: closing any handle of the file releases the shared lock.
        # Otherwise two processes that hold it would deadlock.
        os.close(os.open(self.folder / _USE, os.O_RDWR | os.O_CREAT, 0o644))
        handle = os.open(self.folder / _USE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            what = f"which is using the store '{self.folder}'"
            lock_range(handle, fcntl.LOCK_EX, self.folder / _USE, what, self._warn)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Lock `key` against other processes; the lock of a killed process is released."""
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        self._register_use()
        lock = FileLock(folder / f"{key}.lock")
        acquire(lock, "which is working on the same result", self._warn)
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def private_folder(self) -> Iterator[Path]:
        """Yield an empty folder on the store's disk, which is removed at the end."""
        parent = self.folder / "work"
        parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            with self.locked("work"):
                self._remove_abandoned(parent)
                folder = stack.enter_context(temporary_folder(parent))
                stack.enter_context(locked_folder(folder))
            try:
                yield folder
            except OSError as error:
                self._name_store(error, str(folder))
                raise

    def checkpoint_path(self, pinned: str, name: str) -> Path:
        """Return the path of the checkpoint `name` with the pinned digest, which may not exist."""
        return self.folder / "checkpoints" / f"{pinned[:16]}-{name}"

    def entry_path(self, key: str) -> Path:
        """Return the path of the entry of `key`, which may not exist."""
        return self.folder / "ac" / key[:2] / key

    def file_path(self, digest: str) -> Path:
        """Return the path of the file with `digest`, which may not exist."""
        return self.folder / "cas" / digest[:2] / digest

    def quarantine(self, path: Path) -> None:
        """Move a damaged file out of the way, but keep it for inspection."""
        target = self.folder / "quarantine" / f"{path.name}.{time.time_ns()}"
        self._warn(f"store: '{path.name}' is damaged; it was moved to '{target.parent}'")
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)

    def _name_store(self, error: OSError, folder: str) -> None:
        """Make an OSError about a path in `folder` name the store and the file that was written.

        The folder itself no longer exists when the error is shown.
        """
        if str(error.filename or "").startswith(folder):
            name = Path(str(error.filename)).name
            error.filename = str(self.folder)
            error.strerror = f"{error.strerror}, for '{_PART.sub('', name)}'"

    def _clear(self, path: Path) -> None:
        """Quarantine a pipe, a device or a folder in the place of a file."""
        if os.path.lexists(path) and not path.is_file():
            self.quarantine(path)

    @staticmethod
    def _remove_abandoned(parent: Path) -> None:
        """Remove the private folders of killed processes."""
        for folder in parent.iterdir():
            with contextlib.suppress(OSError), locked_folder(folder):
                shutil.rmtree(folder, ignore_errors=True)
