"""An export that is followed: what it turned out to depend on, and what nobody can know of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from partition_core.base.errors import problem
from partition_core.base.wording import warn
from partition_core.build.dependencies.deducing import Followed, Known, deduced
from partition_core.build.dependencies.installed import normalized, owners
from partition_core.build.dependencies.notes import Watch
from partition_core.build.dependencies.remembered import forget_results
from partition_core.build.dependencies.used_modules import Code
from partition_core.build.dependencies.watching import watched
from partition_core.build.exports import Exports
from partition_core.build.note_forms import NOT_FOLLOWED
from partition_core.build.step import Entries, Notes, StepJob, changed_meanwhile
from partition_core.sources.source import source_module
from partition_core.store.lists import LISTED_AT


class Follower:
    """Follows one export; its methods are called in the order in which they are here."""

    def __init__(self, job: StepJob) -> None:
        self._job = job
        self._exports = Exports(job)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """See what is read until the end."""
        forget_results(Code(owners(self._job.project.around.search)))
        with watched() as watch:
            yield
        self._watch = watch

    def take(self, classes: Collection[str]) -> tuple[Notes, Entries]:
        """Return what was read, as notes and as entries; `classes` are the model's modules.

        Tells, once for a result, what cannot be followed. Raises BuildError for what changed
        while it was read.
        """
        followed = self._found(self._watch, classes)
        outside = list(followed.outside)
        if outside and not self._job.recipe.model.depends_on:
            warn(_not_followed(self._job, outside))
        notes = {LISTED_AT: self._exports.key, **({NOT_FOLLOWED: outside} if outside else {})}
        return notes, followed.entries

    def _found(self, watch: Watch, classes: Collection[str]) -> Followed:
        project, exports = self._job.project, self._exports
        stores = (str(tier.folder.parent) for tier in project.store.tiers)
        known = Known(
            frozenset(exports.paths),
            frozenset(normalized(label.removeprefix("package ")) for label, _ in exports.known),
            (str(project.state), *stores),
            # Where an export starts: what this module imports is used by each.
            (f"partition_core.{source_module(self._job)}",),
        )
        found = deduced(watch, project.around, known, classes)
        if found.changed:
            raise changed_meanwhile("export", [f"{label} changed" for label in found.changed])
        return found


def _not_followed(job: StepJob, outside: list[str]) -> str:
    return str(
        problem(
            job.file.place("model"),
            f"the model depends on what cannot be followed: {', '.join(outside)}",
            "a change of that will not be noticed",
            "name files or packages that stand for it in 'model.depends_on'",
        )
    )
