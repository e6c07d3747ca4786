"""The store that a build uses: a folder on this machine, a fallback, and a shared store.

A fault of a store never fails a build that can do without it: it is a cache miss with a single
warning.
"""

from __future__ import annotations

import contextlib
import errno
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from partition_core.store.entry import Fits, Origin, Result, StoredFile, any_result
from partition_core.store.lists import Names, lists_in, merged, with_lists
from partition_core.store.local import LocalStore

if TYPE_CHECKING:
    from partition_core.store.shared import SharedStore

Warn = Callable[[str], None]
T = TypeVar("T")

_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)


class Store:
    """Results by key: from the machine's store, from the fallback in the project, from a remote.

    The fallback takes results that the machine's store cannot (full, read-only, missing).
    `open_remote` is called at the first request to the shared store.
    """

    def __init__(
        self,
        main: LocalStore,
        fallback: LocalStore,
        open_remote: Callable[[], SharedStore] | None,
        warn: Warn,
    ) -> None:
        self.tiers = (main, fallback)
        self._open_remote = open_remote
        self._warn = warn
        self._warned = False
        self._is_given_up = False

    def find(self, key: str, fits: Fits = any_result) -> Result | None:
        """Return the result of `key` if its entry is on this machine; see `is_complete`.

        A result that does not fit is quarantined.
        """
        for tier in self.tiers:
            result = tier.entry(key, is_used=False, fits=fits)
            if result is not None:
                return result
        return None

    @functools.cached_property
    def _remote(self) -> SharedStore | None:
        return self._open_remote() if self._open_remote is not None else None

    def fetch(self, key: str, fits: Fits) -> Result | None:
        """Return the result of `key`, which fits, with all its files on this machine.

        What is missing here is downloaded from the shared store.
        """
        result = self.find(key, fits)
        if result is not None and self.is_complete(result):
            return result
        if self._remote is None:
            return None
        remote = self._remote
        return self.on_first_tier(lambda tier: remote.fetch(key, fits, tier))

    def offers(self, key: str, fits: Fits) -> bool:
        """Return whether `fetch` would find `key` in the shared store; nothing is stored."""
        return self._remote is not None and self._remote.offers(key, fits)

    def lists(self, key: str) -> tuple[Names, ...]:
        """Return the lists at `key` that are on this machine; see `store.lists`."""
        return merged(*(lists_in(tier.entry(key)) for tier in self.tiers))

    def shared_lists(self, key: str) -> tuple[Names, ...]:
        """Return the lists at `key` in the shared store; nothing is stored."""
        return self._remote.lists(key) if self._remote is not None else ()

    def add_lists(self, key: str, entry: Result) -> None:
        """Put the lists of an entry first among those at `key`, also in a writable shared store.

        Raises OSError if the fallback cannot store them either.
        """
        new = lists_in(entry)

        def into(tier: LocalStore) -> None:
            with tier.locked(f"{key}-lists"):
                tier.put_entry(key, with_lists(entry, merged(new, lists_in(tier.entry(key)))))

        if self.lists(key)[: len(new)] != new:
            self.on_first_tier(into)
        if self._remote is not None and self._remote.is_written:
            remote = self._remote.lists(key)
            if not set(new) <= set(remote):
                self._remote.send(key, with_lists(entry, merged(new, remote)), self.tiers[0])

    def is_complete(self, result: Result) -> bool:
        """Return whether all files of `result` are on this machine, verified."""
        return all(self.path_of(file) is not None for file in result.files.values())

    def path_of(self, file: StoredFile) -> Path | None:
        """Return the path of `file`, verified, for reading only; None if it is missing."""
        for tier in self.tiers:
            path = tier.path_of(file)
            if path is not None:
                return path
        return None

    @contextlib.contextmanager
    def linked(self, file: StoredFile, target: Path) -> Iterator[bool]:
        """Link `file` to `target`, for reading only; yield False if it is missing.

        `target` is in a private folder, and removed at the end.
        """
        tier = next((tier for tier in self.tiers if tier.path_of(file) is not None), None)
        if tier is None:
            yield False
            return
        with tier.linked(file, target) as is_linked:
            yield is_linked

    def restore(self, file: StoredFile, target: Path) -> bool:
        """Copy `file` to `target` atomically, verified; return False if no tier has it.

        Raises OSError only for the target's disk.
        """
        return any(tier.restore(file, target) for tier in self.tiers)

    def keep(
        self, key: str, files: Mapping[str, Path], notes: Mapping[str, object], origin: Origin
    ) -> Result:
        """Store the result of a step: `files` are its outputs, by name, in a private folder.

        Raises OSError if the fallback cannot store them either.
        """
        used: list[LocalStore] = []

        def into(tier: LocalStore) -> Result:
            stored = {name: tier.put_file(path) for name, path in files.items()}
            result = Result(stored, notes, origin)
            tier.put_entry(key, result)
            used.append(tier)
            return result

        result = self.on_first_tier(into)
        if self._remote is not None and self._remote.is_written:
            self._remote.send(key, result, used[0])
        return result

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Lock `key` against other processes."""
        with contextlib.ExitStack() as stack:
            self.on_first_tier(lambda tier: stack.enter_context(tier.locked(key)))
            yield

    @contextlib.contextmanager
    def private_folder(self) -> Iterator[Path]:
        """Yield an empty folder, which is removed at the end."""
        with contextlib.ExitStack() as stack:
            yield self.on_first_tier(lambda tier: stack.enter_context(tier.private_folder()))

    def save(self) -> None:
        """Remember for the next process which files were verified."""
        for tier in self.tiers:
            tier.save()

    def add_user(self, root: Path) -> None:
        """Register the project in the folder `root`, so that `prune` keeps its results."""
        self.on_first_tier(lambda tier: tier.add_user(root))

    def checkpoint_path(self, pinned: str, name: str) -> Path:
        """Return the path of the checkpoint `name` with the pinned digest, which may not exist."""
        paths = [tier.checkpoint_path(pinned, name) for tier in self.tiers]
        existing = next((path for path in paths if path.exists()), None)

        def prepared(tier: LocalStore) -> Path:
            path = tier.checkpoint_path(pinned, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            return path

        return existing or self.on_first_tier(prepared)

    def on_first_tier(self, action: Callable[[LocalStore], T]) -> T:
        """Return the result of `action` on the machine's store, or else on the fallback.

        Raises OSError if both fail.
        """
        main, fallback = self.tiers
        if not self._is_given_up:
            try:
                return action(main)
            except OSError as error:
                self._warn_once(error)
        return action(fallback)

    def gives_up(self, error: OSError) -> bool:
        """Return whether to retry what failed with `error` without the machine's store.

        True if its disk failed and the store was not given up before.
        """
        main = str(self.tiers[0].folder)
        if self._is_given_up or not (
            error.errno in _DISK_REFUSES or str(error.filename or "").startswith(main)
        ):
            return False
        self._warn_once(error)
        self._is_given_up = True
        return True

    def _warn_once(self, error: OSError) -> None:
        main, fallback = self.tiers
        if not self._warned:
            reason = error.strerror or str(error)
            self._warn(
                f"store '{main.folder}': {reason}; this build uses '{fallback.folder}' instead"
            )
            self._warned = True
