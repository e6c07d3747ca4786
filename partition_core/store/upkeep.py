"""What a store holds, whether it is sound, and what may go: for people who look after a disk."""

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
class Held:
    """A result that a store holds: its key, and when it was used last (seconds since 1970)."""

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
    """What may go: results unused for `unused_for` seconds, until `down_to` bytes are left.

    None is no limit. Never the results whose keys are `kept`.
    """

    unused_for: float | None = None
    down_to: int | None = None
    kept: Collection[str] = ()


def held(store: LocalStore) -> list[Held]:
    """Return the results of a store by recipe, step and age; a damaged entry is none."""
    found = []
    for key, path in store.entries():
        with contextlib.suppress(OSError):
            result = decode(key, content_of(path))
            if result is not None and not is_lists(result):
                found.append(Held(key, result, path.stat().st_mtime))
    return sorted(
        found, key=lambda one: (one.result.origin.recipe, one.result.origin.step, one.used)
    )


def size_of(paths: Iterable[Path]) -> int:
    """Return the bytes of the files at `paths`, and of those in the folders there."""
    total = 0
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else (path,)
        total += sum(file.stat().st_size for file in inside if file.is_file())
    return total


def occupied(store: LocalStore) -> int:
    """Return the bytes of everything that a store holds."""
    return size_of([store.folder]) if store.folder.is_dir() else 0


def origins(store: LocalStore, digest: Digest) -> Iterator[tuple[str, Held]]:
    """Yield each result that has a file with this digest, and the file's name in it."""
    for one in held(store):
        for name, file in one.result.files.items():
            if file.digest == digest:
                yield name, one


Believed = Callable[[str, Result], bool]
"""Tells whether the result of a key is what its step gives."""


def verify(
    store: LocalStore, passed: Callable[[Path], object], believed: Believed = lambda *_: True
) -> tuple[int, list[str]]:
    """Read everything; return how many files and entries are sound, and what is wrong.

    What is damaged, or not `believed`, goes into quarantine. `passed` is called with each path
    before it is read.
    """
    sound, problems = 0, []
    for digest, path in store.files():
        passed(path)
        if _digest(path) == digest:
            sound += 1
        else:
            problems.append(f"file {digest} is damaged")
            store.quarantine(path)
    for key, path in store.entries():
        passed(path)
        result = _decoded(key, path)
        if result is None:
            problems.append(f"entry {key} is damaged")
            store.quarantine(path)
            continue
        origin = result.origin
        if not is_lists(result) and not believed(key, result):
            what = f"of step '{origin.step}' of recipe '{origin.recipe}'"
            problems.append(f"entry {key} {what} does not say what such a step gives")
            store.quarantine(path)
            continue
        lost = [n for n, file in result.files.items() if not store.file_path(file.digest).exists()]
        problems += [
            f"'{name}' of step '{origin.step}' of recipe '{origin.recipe}' is not there any more"
            for name in lost
        ]
        sound += not lost
    return sound, problems


def prunable(store: LocalStore, limits: Limits, now: float) -> list[Held]:
    """Return the results that `limits` let go, those that are cheapest to make again first."""
    everything = held(store)
    shared = Counter(file.digest for one in everything for file in _files(one))
    candidates = sorted(
        (
            one
            for one in everything
            if one.key not in limits.kept
            and (limits.unused_for is None or now - one.used > limits.unused_for)
        ),
        key=lambda one: (one.worth, one.used, one.key),
    )
    left = sum({file.digest: file.size for one in everything for file in _files(one)}.values())
    chosen = []
    for one in candidates:
        if limits.down_to is not None and left <= limits.down_to:
            break
        chosen.append(one)
        for file in _files(one):
            shared[file.digest] -= 1
            left -= file.size if not shared[file.digest] else 0
    return chosen


def prunable_checkpoints(
    store: LocalStore, limits: Limits, kept: Collection[str], now: float
) -> list[Path]:
    """Return the checkpoints, whole or in part, that `limits` let go; `kept` are digests in use.

    A limit of bytes is one of results: checkpoints can be fetched, but not made again.
    """
    if limits.down_to is not None:
        return []
    return [
        path
        for path in store.checkpoints()
        if not any(digest.startswith(path.name.partition("-")[0]) for digest in kept)
        and (limits.unused_for is None or now - path.stat().st_mtime > limits.unused_for)
    ]


def remove(store: LocalStore, chosen: Iterable[Held]) -> None:
    """Remove results, then what leads to no result, and what builds left; be `alone`.

    That are files that no result has, and lists by which none is found.
    """
    forget(store, (store.entry_path(one.key) for one in chosen))
    for path in list(store.leftovers()):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def forget(store: LocalStore, entries: Iterable[Path]) -> None:
    """Remove entries, and then what leads to no result and the files that none has; be `alone`."""
    for path in entries:
        path.unlink(missing_ok=True)
    left = held(store)
    needed = {file.digest for one in left for file in _files(one)}
    leading = {one.result.notes.get(LISTED_AT) for one in left}
    for key, path in list(store.entries()):
        entry = _decoded(key, path)
        if entry is not None and is_lists(entry) and key not in leading:
            path.unlink(missing_ok=True)
    for digest, path in list(store.files()):
        if digest not in needed:
            path.unlink(missing_ok=True)


def _digest(path: Path) -> Digest | None:
    with contextlib.suppress(OSError):  # it is no file, or one that cannot be read
        return file_digest(path)
    return None


def _decoded(key: str, path: Path) -> Result | None:
    with contextlib.suppress(OSError):
        return decode(key, content_of(path))
    return None


def _files(one: Held) -> Collection[StoredFile]:
    """Return the files of a result, each once."""
    return {file.digest: file for file in one.result.files.values()}.values()
