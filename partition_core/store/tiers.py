"""The store that a build uses: a folder on this machine, a fall-back, and one shared with others.

Nothing that goes wrong with a store fails a build that can go on without it: it is a miss, and a
warning, once.
"""

from __future__ import annotations

import contextlib
import errno
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from partition_core.store.entry import Fits, Origin, Result, StoredFile, anything
from partition_core.store.lists import Names, lists_in, merged, with_lists
from partition_core.store.local import LocalStore

Warn = Callable[[str], None]
T = TypeVar("T")

_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)


class Remote(Protocol):
    """A store that several machines share. No method raises: a fault is a miss and a warning."""

    def fetch(self, key: str, fits: Fits, into: LocalStore) -> Result | None:
        """Return the result of `key` after its entry and files were put into `into`, verified.

        A result that does not fit is a fault.
        """

    def offers(self, key: str, fits: Fits) -> bool:
        """Return whether `fetch` would find `key`; nothing is transferred but the entry."""

    def lists(self, key: str) -> tuple[Names, ...]:
        """Return the lists at `key`, none without."""

    def send(self, key: str, result: Result, source: LocalStore) -> bool:
        """Give an entry and its files to the others; return whether all arrived."""

    @property
    def is_written(self) -> bool:
        """Whether results of this machine are sent."""


class Store:
    """Results by key: from the machine's store, from the fall-back in the project, from a remote.

    The fall-back takes results that the machine's store refuses (full, read-only, gone).
    `open_remote` is called when something is first asked of the others, and only then.
    """

    def __init__(
        self,
        main: LocalStore,
        fallback: LocalStore,
        open_remote: Callable[[], Remote] | None,
        warn: Warn,
    ) -> None:
        self.tiers = (main, fallback)
        self._open_remote = open_remote
        self._warn = warn
        self._warned = False
        self._is_given_up = False

    def find(self, key: str, fits: Fits = anything) -> Result | None:
        """Return the result of `key` if its entry is on this machine; see `is_complete`.

        One that does not fit is none, and put into quarantine.
        """
        for tier in self.tiers:
            result = tier.entry(key, is_used=False, fits=fits)
            if result is not None:
                return result
        return None

    @functools.cached_property
    def _remote(self) -> Remote | None:
        return self._open_remote() if self._open_remote is not None else None

    def fetch(self, key: str, fits: Fits) -> Result | None:
        """Return the result of `key`, which fits, with its files, all on this machine.

        What is not here is fetched from afar.
        """
        result = self.find(key, fits)
        if result is not None and self.is_complete(result):
            return result
        if self._remote is None:
            return None
        remote = self._remote
        return self.on_first_tier(lambda tier: remote.fetch(key, fits, tier))

    def offers(self, key: str, fits: Fits) -> bool:
        """Return whether `fetch` would find `key` afar; nothing is stored."""
        return self._remote is not None and self._remote.offers(key, fits)

    def lists(self, key: str) -> tuple[Names, ...]:
        """Return the lists at `key` that are on this machine; see `store.lists`."""
        return merged(*(lists_in(tier.entry(key)) for tier in self.tiers))

    def lists_afar(self, key: str) -> tuple[Names, ...]:
        """Return the lists at `key` that others have; nothing is stored."""
        return self._remote.lists(key) if self._remote is not None else ()

    def add_lists(self, key: str, entry: Result) -> None:
        """Put the lists of an entry first among those at `key`, also afar if results are sent.

        Raises OSError if not even the fall-back can hold them.
        """
        new = lists_in(entry)

        def into(tier: LocalStore) -> None:
            with tier.locked(f"{key}-lists"):
                tier.put_entry(key, with_lists(entry, merged(new, lists_in(tier.entry(key)))))

        if self.lists(key)[: len(new)] != new:
            self.on_first_tier(into)
        if self._remote is not None and self._remote.is_written:
            theirs = self._remote.lists(key)
            if not set(new) <= set(theirs):
                self._remote.send(key, with_lists(entry, merged(new, theirs)), self.tiers[0])

    def is_complete(self, result: Result) -> bool:
        """Return whether all files of `result` are on this machine, verified."""
        return all(self.path_of(file) is not None for file in result.files.values())

    def path_of(self, file: StoredFile) -> Path | None:
        """Return where the bytes of `file` are kept, verified, for reading only; None without."""
        for tier in self.tiers:
            path = tier.path_of(file)
            if path is not None:
                return path
        return None

    @contextlib.contextmanager
    def lent(self, file: StoredFile, target: Path) -> Iterator[bool]:
        """Let the bytes of `file` be at `target` too, for reading only; yield False without them.

        `target` is in a private folder, and gone at the end.
        """
        tier = next((tier for tier in self.tiers if tier.path_of(file) is not None), None)
        if tier is None:
            yield False
            return
        with tier.lent(file, target) as found:
            yield found

    def restore(self, file: StoredFile, target: Path) -> bool:
        """Copy `file` to `target`, whole and verified; False if no tier has its bytes.

        Raises OSError only for the target's disk.
        """
        return any(tier.restore(file, target) for tier in self.tiers)

    def keep(
        self, key: str, files: Mapping[str, Path], notes: Mapping[str, object], origin: Origin
    ) -> Result:
        """Keep the result of a step: `files` are its outputs, by name, in a private folder.

        Raises OSError if not even the fall-back can hold them.
        """
        kept: list[LocalStore] = []

        def into(tier: LocalStore) -> Result:
            stored = {name: tier.put_file(path) for name, path in files.items()}
            result = Result(stored, notes, origin)
            tier.put_entry(key, result)
            kept.append(tier)
            return result

        result = self.on_first_tier(into)
        if self._remote is not None and self._remote.is_written:
            self._remote.send(key, result, kept[0])
        return result

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Let one process at a time work on `key`."""
        with contextlib.ExitStack() as held:
            self.on_first_tier(lambda tier: held.enter_context(tier.locked(key)))
            yield

    @contextlib.contextmanager
    def private_folder(self) -> Iterator[Path]:
        """Yield an empty folder; at the end it is gone."""
        with contextlib.ExitStack() as held:
            yield self.on_first_tier(lambda tier: held.enter_context(tier.private_folder()))

    def save(self) -> None:
        """Remember for the next process which files were verified."""
        for tier in self.tiers:
            tier.save()

    def add_user(self, root: Path) -> None:
        """Remember the project in the folder `root` as one whose artifacts are to be kept."""
        self.on_first_tier(lambda tier: tier.add_user(root))

    def checkpoint_path(self, pinned: str, name: str) -> Path:
        """Return where the checkpoint `name` with the pinned digest is, or will be."""
        paths = [tier.checkpoint_path(pinned, name) for tier in self.tiers]
        here = next((path for path in paths if path.exists()), None)

        def made(tier: LocalStore) -> Path:
            path = tier.checkpoint_path(pinned, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            return path

        return here or self.on_first_tier(made)

    def on_first_tier(self, action: Callable[[LocalStore], T]) -> T:
        """Return what `action` gives on the machine's store, or else on the fall-back.

        Raises OSError if both refuse.
        """
        main, fallback = self.tiers
        if not self._is_given_up:
            try:
                return action(main)
            except OSError as error:
                self._tell(error)
        return action(fallback)

    def gives_up(self, error: OSError) -> bool:
        """Return whether to try again what failed with `error`, now without the machine's store.

        So it is if its disk refused, and the store was not given up before.
        """
        main = str(self.tiers[0].folder)
        if self._is_given_up or not (
            error.errno in _DISK_REFUSES or str(error.filename or "").startswith(main)
        ):
            return False
        self._tell(error)
        self._is_given_up = True
        return True

    def _tell(self, error: OSError) -> None:
        main, fallback = self.tiers
        if not self._warned:
            reason = error.strerror or str(error)
            self._warn(
                f"store '{main.folder}': {reason}; this build goes on without it, "
                f"in '{fallback.folder}'"
            )
            self._warned = True
