"""Maintenance of a store: what it contains, whether it is intact, and what may be removed."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.disk import Digest, file_digest
from partition_core.base.outside_files import content_of
from partition_core.store.entry import Result, StoredFile, decode
from partition_core.store.lists import LISTED_AT, is_lists
from partition_core.store.local import LocalStore

DAY = 24 * 3600.0


@dataclass(frozen=True)
class StoredResult:
    """A result in a store: its key, and when it was last used (seconds since 1970)."""

    key: str
    result: Result
    used: float

    @property
    def size(self) -> int:
        """Bytes of the result's files, which other results may share."""
        return sum(file.size for file in self.result.files.values())

    @property
    def worth(self) -> float:
        """Seconds of work that each byte saves."""
        return self.result.origin.seconds / max(self.size, 1)


@dataclass(frozen=True)
class Limits:
    """What may be removed: results unused for `unused_for` seconds, until `down_to` bytes remain.

    None is no limit. Results whose keys are in `in_use` always stay.
    """

    unused_for: float | None = None
    down_to: int | None = None
    in_use: Collection[str] = ()


def results_in(store: LocalStore) -> list[StoredResult]:
    """Return the results of a store by recipe, step and age, without damaged entries."""
    results = []
    for key, path in store.entries():
        with contextlib.suppress(OSError):
            result = decode(key, content_of(path))
            if result is not None and not is_lists(result):
                results.append(StoredResult(key, result, path.stat().st_mtime))
    return sorted(results, key=lambda r: (r.result.origin.recipe, r.result.origin.step, r.used))


def size_of(paths: Iterable[Path]) -> int:
    """Return the bytes of the files at `paths`, and of those in the folders there."""
    total = 0
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else (path,)
        total += sum(file.stat().st_size for file in inside if file.is_file())
    return total


def occupied(store: LocalStore) -> int:
    """Return the size of a store in bytes."""
    return size_of([store.folder]) if store.folder.is_dir() else 0


def origins(store: LocalStore, digest: Digest) -> Iterator[tuple[str, StoredResult]]:
    """Yield each result that has a file with this digest, and the file's name in it."""
    for stored in results_in(store):
        for name, file in stored.result.files.items():
            if file.digest == digest:
                yield name, stored


IsValid = Callable[[str, Result], bool]
"""Whether the result of a key has the form that its step produces."""


def verify(
    store: LocalStore, progress: Callable[[Path], object], is_valid: IsValid = lambda *_: True
) -> tuple[int, list[str]]:
    """Read everything; return how many files and entries are intact, and the problems.

    Files and entries that are damaged or not valid are quarantined. `progress` is called with each
    path before it is read.
    """
    intact, problems = 0, []
    for digest, path in store.files():
        progress(path)
        if _digest(path) == digest:
            intact += 1
        else:
            problems.append(f"file {digest} is damaged")
            store.quarantine(path)
    for key, path in store.entries():
        progress(path)
        result = _decoded(key, path)
        if result is None:
            problems.append(f"entry {key} is damaged")
            store.quarantine(path)
            continue
        origin = result.origin
        if not is_lists(result) and not is_valid(key, result):
            what = f"of step '{origin.step}' of recipe '{origin.recipe}'"
            problems.append(f"entry {key} {what} is not a valid result of that step")
            store.quarantine(path)
            continue
        missing = [
            n for n, file in result.files.items() if not store.file_path(file.digest).exists()
        ]
        problems += [
            f"'{name}' of step '{origin.step}' of recipe '{origin.recipe}' is missing"
            for name in missing
        ]
        intact += not missing
    return intact, problems


def prunable(store: LocalStore, limits: Limits, now: float) -> list[StoredResult]:
    """Return the results that `limits` allow to remove, cheapest to rebuild first."""
    everything = results_in(store)
    uses = Counter(file.digest for stored in everything for file in _files(stored))
    candidates = sorted(
        (
            stored
            for stored in everything
            if stored.key not in limits.in_use
            and (limits.unused_for is None or now - stored.used > limits.unused_for)
        ),
        key=lambda stored: (stored.worth, stored.used, stored.key),
    )
    sizes = {file.digest: file.size for stored in everything for file in _files(stored)}
    remaining = sum(sizes.values())
    chosen = []
    for stored in candidates:
        if limits.down_to is not None and remaining <= limits.down_to:
            break
        chosen.append(stored)
        for file in _files(stored):
            uses[file.digest] -= 1
            remaining -= file.size if not uses[file.digest] else 0
    return chosen


def prunable_checkpoints(
    store: LocalStore, limits: Limits, in_use: Collection[str], now: float
) -> list[Path]:
    """Return the checkpoints, complete or partial, to remove; `in_use` are their digests in use.

    A size limit is for results only: checkpoints can be downloaded, but not rebuilt.
    """
    if limits.down_to is not None:
        return []
    return [
        path
        for path in store.checkpoints()
        if not any(digest.startswith(path.name.partition("-")[0]) for digest in in_use)
        and (limits.unused_for is None or now - path.stat().st_mtime > limits.unused_for)
    ]


def remove(store: LocalStore, chosen: Iterable[StoredResult]) -> None:
    """Remove results, then unreferenced lists and files, and leftovers of builds.

    Call it within `LocalStore.exclusive`.
    """
    forget(store, (store.entry_path(stored.key) for stored in chosen))
    for path in list(store.leftovers()):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def forget(store: LocalStore, entries: Iterable[Path]) -> None:
    """Remove entries, then unreferenced lists and files; call it within `LocalStore.exclusive`."""
    for path in entries:
        path.unlink(missing_ok=True)
    results = results_in(store)
    needed = {file.digest for stored in results for file in _files(stored)}
    lists = {stored.result.notes.get(LISTED_AT) for stored in results}
    for key, path in list(store.entries()):
        entry = _decoded(key, path)
        if entry is not None and is_lists(entry) and key not in lists:
            path.unlink(missing_ok=True)
    for digest, path in list(store.files()):
        if digest not in needed:
            path.unlink(missing_ok=True)


def _digest(path: Path) -> Digest | None:
    with contextlib.suppress(OSError):  # not a file, or not readable
        return file_digest(path)
    return None


def _decoded(key: str, path: Path) -> Result | None:
    with contextlib.suppress(OSError):
        return decode(key, content_of(path))
    return None


def _files(stored: StoredResult) -> Collection[StoredFile]:
    """Return the files of a result without duplicates."""
    return {file.digest: file for file in stored.result.files.values()}.values()
