"""The store for people: what is in it, whether it is sound, what may go, what made a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from partition_core.base.disk import Digest, file_digest
from partition_core.base.errors import BuildError, problem, suggestion
from partition_core.base.folders import BUILD, MANIFEST
from partition_core.base.wording import counted, size_text
from partition_core.build.project import Project
from partition_core.build.result_checks import fingerprint_of, fits
from partition_core.chain.manifest import Former, former_manifest
from partition_core.store import upkeep
from partition_core.store.entry import is_digest
from partition_core.store.local import LocalStore
from partition_core.store.upkeep import DAY, Limits, StoredResult

_SHOWN = 12
"""Digits of a key that are shown; those of `doit store --forget` may be as few as `_LEAST`."""
_LEAST = 8


def show(project: Project, now: float | None = None) -> Iterator[str]:
    """Yield a line for each result in the stores of a project, and their sizes."""
    clock = time.time() if now is None else now
    for store in _stores(project):
        kept = {key for manifest in _manifests(store) for key in manifest.keys}
        results = upkeep.results_in(store)
        rows = [_row(one, one.key in kept, clock) for one in results]
        yield from _table([("recipe", "step", "size", "made in", "used", "key", ""), *rows])
        checkpoints = upkeep.size_of(store.checkpoints())
        more = f", {size_text(checkpoints)} of them checkpoints" if checkpoints else ""
        yield (
            f"{counted(len(results), 'result')} in '{store.folder}', "
            f"{size_text(upkeep.occupied(store))}{more}"
        )


def verify(project: Project, progress: Callable[[Iterable[Path]], Any]) -> Iterator[str]:
    """Read all that the stores hold and yield what was found; raises BuildError for damage."""
    for store in _stores(project):
        paths = [path for _, path in (*store.files(), *store.entries())]
        with progress(paths) as bar:
            sound, problems = upkeep.verify(
                store,
                lambda path: bar.update(path.stat().st_size),
                lambda key, result: fits(result.origin.step, key, result),
            )
        if problems:
            raise BuildError(*(problem(str(store.folder), one) for one in problems))
        yield f"{counted(sound, 'file')} in '{store.folder}', all sound"


def prune(project: Project, days: float | None, down_to: int | None, is_dry: bool) -> Iterator[str]:
    """Remove what no build folder was made of, within limits, and yield what went.

    `days` spares what was used since; `down_to` is how many bytes may stay. What is cheapest to
    make again, for each byte, goes first. Waits until no build uses the store.
    """
    unused_for = None if days is None else days * DAY
    for store in _stores(project):
        with store.exclusive():
            before, now = upkeep.occupied(store), time.time()
            manifests = list(_manifests(store))
            limits = Limits(unused_for, down_to, {k for m in manifests for k in m.keys})
            chosen = upkeep.prunable(store, limits, now)
            in_use = {digest for m in manifests for digest in m.fetched}
            fetched = upkeep.prunable_checkpoints(store, limits, in_use, now)
            for one in chosen:
                origin = one.result.origin
                yield f"{origin.recipe}: {origin.step}: {size_text(one.size)}"
            for path in fetched:
                yield f"checkpoint {path.name}: {size_text(path.stat().st_size)}"
            told = counted(len(chosen), "result")
            told += f", {counted(len(fetched), 'checkpoint')}" if fetched else ""
            if is_dry:
                yield f"would remove {told} from '{store.folder}'"
                continue
            upkeep.remove(store, chosen)
            for path in fetched:
                path.unlink(missing_ok=True)
            freed = before - upkeep.occupied(store)
        yield f"removed {told} and {size_text(freed)} from '{store.folder}'"


def forget(project: Project, what: str) -> Iterator[str]:
    """Remove the results of the recipe `what`, or of the keys that start so; yield what went.

    Waits until no build uses the store. Raises BuildError if there are none.
    """
    known: set[str] = set()
    is_found = False
    for store in _stores(project):
        with store.exclusive():
            made = {one.key: one.result.origin for one in upkeep.results_in(store)}
            known |= {origin.recipe for origin in made.values()}
            chosen = [
                (key, path)
                for key, path in store.entries()
                if (key in made and made[key].recipe == what)
                or (len(what) >= _LEAST and key.startswith(what))
            ]
            upkeep.forget(store, (path for _, path in chosen))
        for key, _ in chosen:
            is_found = True
            told = f"{made[key].recipe}: {made[key].step}" if key in made else "an entry"
            yield f"{told}: {key[:_SHOWN]} removed from '{store.folder}'"
    if not is_found:
        raise BuildError.at(
            f"forget={what}",
            "no result is called so",
            f"expected a recipe, or the first {_LEAST} digits or more of a key",
            suggestion(what, known) or "`doit store` lists both",
        )


def origin(project: Project, path: Path) -> Iterator[str]:
    """Yield which recipe and inputs made a file; raises BuildError for a file not made here."""
    digest = file_digest(path)
    results = [(s, *found) for s in _stores(project) for found in upkeep.origins(s, digest)]
    if not results:
        raise BuildError.at(
            str(path),
            f"no step on this machine made this file (sha256 {digest})",
            "expected a file as it was built",
            "look at its manifest, or ask where it was built",
        )
    for store, name, one in results:
        yield f"{path} is {_called(name, one)} (sha256 {digest})"
        yield from _inputs(store, one, {digest})


def _stores(project: Project) -> list[LocalStore]:
    """Return the stores that exist; raises BuildError if there is none."""
    main, fallback = project.store.tiers
    found = [store for store in (main, fallback) if store.folder.is_dir()]
    if not found:
        raise BuildError.at(str(main.folder), "there is no store yet", "", "build something")
    return found


def _manifests(store: LocalStore) -> Iterator[Former]:
    """Yield what the build folders of all projects that use the store say of themselves."""
    for root in store.users():
        for path in (root / BUILD).glob(f"*/{MANIFEST}"):
            yield former_manifest(path.parent)


def _row(one: StoredResult, is_used: bool, now: float) -> tuple[str, ...]:
    origin = one.result.origin
    return (
        origin.recipe,
        origin.step,
        size_text(one.size),
        f"{origin.seconds:.1f} s",
        _ago(now - one.used),
        one.key[:_SHOWN],
        "in use" if is_used else "",
    )


def _ago(seconds: float) -> str:
    days = int(seconds / DAY)
    return "today" if days < 1 else f"{counted(days, 'day')} ago"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _called(name: str, one: StoredResult) -> str:
    origin = one.result.origin
    return (
        f"'{name}' of step '{origin.step}' of recipe '{origin.recipe}', made in {origin.seconds} s"
    )


def _inputs(store: LocalStore, one: StoredResult, told: set[str]) -> Iterator[str]:
    """Yield the entries of a result's fingerprint, then those of the results it was made of."""
    own = 0
    earlier: list[Digest] = []
    for label, text in fingerprint_of(one.result):
        if label.startswith("code partition_core/"):
            own += 1
            continue
        yield f"  {label}: {text}"
        if text not in told and is_digest(text) and store.file_path(text).exists():
            earlier.append(Digest(text))
    yield f"  {counted(own, 'file')} of partition_core's code"
    for digest in earlier:
        told.add(digest)
        for name, maker in upkeep.origins(store, digest):
            yield f"made of {_called(name, maker)}"
            yield from _inputs(store, maker, told)
