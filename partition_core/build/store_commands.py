"""The `doit store` commands: list, verify, prune and forget results, and the origin of a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from partition_core.base.build_name import BuildName, variants_in
from partition_core.base.disk import Digest, file_digest
from partition_core.base.errors import BuildError, problem, suggestion
from partition_core.base.folders import BUILD, MANIFEST
from partition_core.base.wording import columns, counted, size_text
from partition_core.build.project import Project
from partition_core.build.result_checks import fingerprint_of, is_valid
from partition_core.chain.manifest import Former, former_manifest
from partition_core.store import upkeep
from partition_core.store.entry import is_digest
from partition_core.store.local import LocalStore
from partition_core.store.upkeep import DAY, Limits, StoredResult

_SHOWN = 12
"""Digits of a key that are shown; `doit store --forget` takes `_LEAST` or more."""
_LEAST = 8


def show(project: Project, now: float | None = None) -> Iterator[str]:
    """Yield a line for each result in the stores of a project, and their sizes."""
    clock = time.time() if now is None else now
    for store in _stores(project):
        published = {key for manifest in _manifests(store) for key in manifest.keys}
        results = upkeep.results_in(store)
        rows = [_row(result, result.key in published, clock) for result in results]
        yield from columns([("recipe", "step", "size", "made in", "used", "key", ""), *rows])
        checkpoints = upkeep.size_of(store.checkpoints())
        more = f", {size_text(checkpoints)} of them checkpoints" if checkpoints else ""
        yield (
            f"{counted(len(results), 'result')} in '{store.folder}', "
            f"{size_text(upkeep.occupied(store))}{more}"
        )


def verify(project: Project, progress: Callable[[Iterable[Path]], Any]) -> Iterator[str]:
    """Read everything in the stores and yield a verdict for each; raises BuildError for damage."""
    for store in _stores(project):
        paths = [path for _, path in (*store.files(), *store.entries())]
        with progress(paths) as bar:
            sound, problems = upkeep.verify(
                store,
                lambda path: bar.update(path.stat().st_size),
                lambda key, result: is_valid(result.origin.step, key, result),
            )
        BuildError.refuse(problem(str(store.folder), what) for what in problems)
        yield f"{counted(sound, 'file')} in '{store.folder}', all sound"


def prune(project: Project, days: float | None, down_to: int | None, is_dry: bool) -> Iterator[str]:
    """Remove results that no build folder uses, within limits, and yield a line for each.

    `days` spares results used since; `down_to` is how many bytes may stay. What is cheapest to
    rebuild, per byte, is removed first. Waits until no build uses the store.
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
            for entry in chosen:
                origin = entry.result.origin
                yield f"{origin.recipe}: {origin.step}: {size_text(entry.size)}"
            for path in fetched:
                yield f"checkpoint {path.name}: {size_text(path.stat().st_size)}"
            amount = counted(len(chosen), "result")
            amount += f", {counted(len(fetched), 'checkpoint')}" if fetched else ""
            if is_dry:
                yield f"would remove {amount} from '{store.folder}'"
                continue
            upkeep.remove(store, chosen)
            for path in fetched:
                path.unlink(missing_ok=True)
            freed = before - upkeep.occupied(store)
        yield f"removed {amount} and {size_text(freed)} from '{store.folder}'"


def forget(project: Project, what: str) -> Iterator[str]:
    """Remove the results of the recipe or variant `what`, or of keys with that prefix; yield a line
    for each.

    Waits until no build uses the store. Raises BuildError if there are none.
    """
    known: set[str] = set()
    is_found = False
    for store in _stores(project):
        with store.exclusive():
            origins = {entry.key: entry.result.origin for entry in upkeep.results_in(store)}
            known |= {name for origin in origins.values() for name in _names(origin.recipe)}
            chosen = [
                (key, path)
                for key, path in store.entries()
                if (key in origins and what in _names(origins[key].recipe))
                or (len(what) >= _LEAST and key.startswith(what))
            ]
            upkeep.forget(store, (path for _, path in chosen))
        for key, _ in chosen:
            is_found = True
            step = f"{origins[key].recipe}: {origins[key].step}" if key in origins else "an entry"
            yield f"{step}: {key[:_SHOWN]} removed from '{store.folder}'"
    if not is_found:
        raise BuildError.at(
            f"forget={what}",
            "no such result",
            f"expected a recipe, or the first {_LEAST} digits or more of a key",
            suggestion(what, known) or "`doit store` lists both",
        )


def _names(build: str) -> tuple[str, ...]:
    """Return the names of a build, and of the recipe that it is a variant of."""
    return build, BuildName.of(build).recipe


def origin(project: Project, path: Path) -> Iterator[str]:
    """Yield the recipe and inputs of a built file; raises BuildError for a file not built here."""
    digest = file_digest(path)
    results = [(s, *origin) for s in _stores(project) for origin in upkeep.origins(s, digest)]
    if not results:
        raise BuildError.at(
            str(path),
            f"no step on this machine made this file (sha256 {digest})",
            "expected an unchanged artifact of a build",
            "look at its manifest, or run this where it was built",
        )
    for store, name, entry in results:
        yield f"{path} is {_described(name, entry)} (sha256 {digest})"
        yield from _inputs(store, entry, {digest})


def _stores(project: Project) -> list[LocalStore]:
    """Return the stores that exist; raises BuildError if there is none."""
    main, fallback = project.store.tiers
    stores = [store for store in (main, fallback) if store.folder.is_dir()]
    if not stores:
        raise BuildError.at(str(main.folder), "there is no store yet", "", "build a recipe")
    return stores


def _manifests(store: LocalStore) -> Iterator[Former]:
    """Yield the manifests of all projects that use the store."""
    for root in store.users():
        for folder in sorted({path.parent for path in (root / BUILD).glob(f"*/*{MANIFEST}")}):
            yield from (former_manifest(folder, variant) for variant in variants_in(folder))


def _row(entry: StoredResult, is_used: bool, now: float) -> tuple[str, ...]:
    origin = entry.result.origin
    return (
        origin.recipe,
        origin.step,
        size_text(entry.size),
        f"{origin.seconds:.1f} s",
        _ago(now - entry.used),
        entry.key[:_SHOWN],
        "in use" if is_used else "",
    )


def _ago(seconds: float) -> str:
    days = int(seconds / DAY)
    return "today" if days < 1 else f"{counted(days, 'day')} ago"


def _described(name: str, entry: StoredResult) -> str:
    origin = entry.result.origin
    return (
        f"'{name}' of step '{origin.step}' of recipe '{origin.recipe}', made in {origin.seconds} s"
    )


def _inputs(store: LocalStore, entry: StoredResult, visited: set[str]) -> Iterator[str]:
    """Yield the entries of a result's fingerprint, then those of the results it was built from."""
    own = 0
    earlier: list[Digest] = []
    for label, text in fingerprint_of(entry.result):
        if label.startswith("code partition_core/"):
            own += 1
            continue
        yield f"  {label}: {text}"
        if text not in visited and is_digest(text) and store.file_path(text).exists():
            earlier.append(Digest(text))
    yield f"  {counted(own, 'file')} of partition_core's code"
    for digest in earlier:
        visited.add(digest)
        for name, maker in upkeep.origins(store, digest):
            yield f"made of {_described(name, maker)}"
            yield from _inputs(store, maker, visited)
