"""A store in one folder: `ac/<key>` holds entries, `cas/<digest>` files, verified when served."""

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
    held_folder,
    link_or_copy,
    link_whole,
    write_whole,
)
from partition_core.base.outside_files import content_of
from partition_core.base.signals import passing_folder
from partition_core.store.entry import Fits, Result, StoredFile, anything, decode, encode
from partition_core.store.waiting import acquire, lock_range

LAYOUT = "v1"
_USE = "use.lock"
_PART = re.compile(r"^\.(?=.*\.part$)|\.[^.]+\.part$")
"""What is before and behind a name while its file is written."""
_USED_AGAIN_AFTER = 3600.0


class LocalStore:
    """Entries and files below `folder`, each written once, whole, and never changed.

    Methods raise OSError where the disk refuses.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.folder = folder / LAYOUT
        self._warn = warn
        self._use: int | None = None

    @functools.cached_property
    def _digests(self) -> Digests:
        """Digests of the store's files, which all projects of the machine remember together."""
        return Digests(self.folder / "digests.json")

    def save(self) -> None:
        """Remember for the next process which files were verified."""
        if "_digests" in vars(self):
            self._digests.save()

    def entry(self, key: str, is_used: bool = True, fits: Fits = anything) -> Result | None:
        """Return the result of `key`, or None; of its files no byte is looked at.

        An entry that is damaged or does not fit is put into quarantine. `is_used` counts as a use
        of the result.
        """
        path = self.entry_path(key)
        self._hold()
        try:
            content = content_of(path)
            result = decode(key, content)
            if result is None or not fits(result) or not self._has_sizes(result):
                self.quarantine(path)
                return None
            if is_used and time.time() - path.stat().st_mtime > _USED_AGAIN_AFTER:
                with contextlib.suppress(OSError):
                    os.utime(path)  # tells when it was used last
        except OSError:
            self._clear(path)
            return None
        return result

    def _has_sizes(self, result: Result) -> bool:
        """Return whether the files of a result that are here have the sizes that it tells."""
        for file in result.files.values():
            with contextlib.suppress(FileNotFoundError):
                is_other = self.file_path(file.digest).stat().st_size != file.size
                # A file that was cut short is damaged itself.
                if is_other and self.path_of(file) is not None:
                    return False
        return True

    def path_of(self, file: StoredFile) -> Path | None:
        """Return where the bytes of `file` are kept, verified, for reading only; None without.

        Damaged ones are put into quarantine.
        """
        path = self.file_path(file.digest)
        found = self._digests.of(path)
        if found is None:
            self._clear(path)
            return None
        if found == file.digest:
            return path
        self.quarantine(path)
        return None

    def put_file(self, path: Path) -> StoredFile:
        """Keep the bytes of the file at `path`, which nobody may change from now on."""
        digest = file_digest(path)
        file = StoredFile(digest, path.stat().st_size)
        target = self.file_path(digest)
        if self.path_of(file) is None:
            link_whole(path, target)
        self._digests.learn(target, digest)
        return file

    def put_entry(self, key: str, result: Result) -> None:
        """Keep the entry of `key`; its files must be here already."""
        write_whole(self.entry_path(key), encode(key, result), mode=READ_ONLY)

    @contextlib.contextmanager
    def lent(self, file: StoredFile, target: Path) -> Iterator[bool]:
        """Let the bytes of `file` be at `target` too, for reading only; yield False without them.

        At the end `target` is gone.
        """
        source = self.path_of(file)
        if source is None:
            yield False
            return
        with self._digests.kept(source, file.digest):
            link_or_copy(source, target)
        try:
            yield True
        finally:
            with self._digests.kept(source, file.digest):
                target.unlink(missing_ok=True)

    def restore(self, file: StoredFile, target: Path) -> bool:
        """Copy `file` to `target`, whole and verified while it is copied; False without it."""
        source = self.path_of(file)
        if source is None:
            return False
        if copy_verified(source, target, file.digest):
            return True
        self.quarantine(source)
        return False

    def entries(self) -> Iterator[tuple[str, Path]]:
        """Yield the key and the path of every entry, sorted."""
        found = sorted((self.folder / "ac").glob("??/*"))
        yield from ((path.name, path) for path in found if not path.name.startswith("."))

    def files(self) -> Iterator[tuple[Digest, Path]]:
        """Yield the digest and the path of every stored file, sorted."""
        found = sorted((self.folder / "cas").glob("??/*"))
        yield from ((Digest(p.name), p) for p in found if not p.name.startswith("."))

    def checkpoints(self) -> Iterator[Path]:
        """Yield the path of every checkpoint, whole or in part, sorted."""
        yield from sorted((self.folder / "checkpoints").glob("*"))

    def leftovers(self) -> Iterator[Path]:
        """Yield what is of no use while no build runs: quarantine, private folders and locks."""
        for name in ("quarantine", "work", "locks"):
            yield from sorted((self.folder / name).glob("*"))
        yield from sorted(self.folder.glob("*/*/.*.part"))

    def add_user(self, root: Path) -> None:
        """Remember the project in the folder `root` as one whose artifacts are to be kept."""
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

    def _hold(self) -> None:
        """Let nobody be `alone` for as long as this process lives."""
        if self._use is None and self.folder.is_dir():
            with contextlib.suppress(OSError):
                self._use = os.open(self.folder / _USE, os.O_RDWR | os.O_CREAT, 0o644)
                lock_range(
                    self._use,
                    fcntl.LOCK_SH,
                    self.folder / _USE,
                    f"which removes results from the store '{self.folder}'",
                    self._warn,
                )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for the builds that use the store, and let others wait meanwhile.

        What this process has looked up before may be gone afterwards.
        """
        # The lock is the process's: whichever of its stores took it, closing the file gives it up.
        # Else two processes that hold it would each wait for the other.
        os.close(os.open(self.folder / _USE, os.O_RDWR | os.O_CREAT, 0o644))
        handle = os.open(self.folder / _USE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            told = f"which uses the store '{self.folder}'"
            lock_range(handle, fcntl.LOCK_EX, self.folder / _USE, told, self._warn)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Let one process at a time work on `key`; the others wait. A dead one holds nothing."""
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        self._hold()
        lock = FileLock(folder / f"{key}.lock")
        acquire(lock, "which works on the same", self._warn)
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def private_folder(self) -> Iterator[Path]:
        """Yield an empty folder on the store's disk; at the end it is gone."""
        parent = self.folder / "work"
        parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            with self.locked("work"):
                self._remove_abandoned(parent)
                folder = held.enter_context(passing_folder(parent))
                held.enter_context(held_folder(folder))
            try:
                yield folder
            except OSError as error:
                self._name_store(error, str(folder))
                raise

    def checkpoint_path(self, pinned: str, name: str) -> Path:
        """Return where the checkpoint `name` with the pinned digest is, or will be."""
        return self.folder / "checkpoints" / f"{pinned[:16]}-{name}"

    def entry_path(self, key: str) -> Path:
        """Return where the entry of `key` is, or will be."""
        return self.folder / "ac" / key[:2] / key

    def file_path(self, digest: str) -> Path:
        """Return where the file with `digest` is, or will be."""
        return self.folder / "cas" / digest[:2] / digest

    def quarantine(self, path: Path) -> None:
        """Take a damaged file out of the way without destroying what it may tell."""
        target = self.folder / "quarantine" / f"{path.name}.{time.time_ns()}"
        self._warn(f"store: '{path.name}' is damaged; it was put into '{target.parent}'")
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)

    def _name_store(self, error: OSError, folder: str) -> None:
        """Let an error of the disk name the store, and what was written, for a path in `folder`.

        Nobody can look at that when it is told.
        """
        if str(error.filename or "").startswith(folder):
            name = Path(str(error.filename)).name
            error.filename = str(self.folder)
            error.strerror = f"{error.strerror}, for '{_PART.sub('', name)}'"

    def _clear(self, path: Path) -> None:
        """Put a pipe, a device or a folder that is in the place of a file into quarantine."""
        if os.path.lexists(path) and not path.is_file():
            self.quarantine(path)

    @staticmethod
    def _remove_abandoned(parent: Path) -> None:
        """Remove the private folders that killed processes left."""
        for folder in parent.iterdir():
            with contextlib.suppress(OSError), held_folder(folder):
                shutil.rmtree(folder, ignore_errors=True)
