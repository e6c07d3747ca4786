"""A followed export: what it depended on, and what it did that cannot be followed."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from partition_core.base.errors import problem
from partition_core.base.wording import warn
from partition_core.build.dependencies.deducing import Followed, KnownInputs, deduced
from partition_core.build.dependencies.installed import normalized, owners
from partition_core.build.dependencies.notes import Watch
from partition_core.build.dependencies.used_modules import Code, forget_results
from partition_core.build.dependencies.watching import watched
from partition_core.build.exports import Exports
from partition_core.build.note_checks import NOT_FOLLOWED
from partition_core.build.step import Entries, Notes, StepJob, inputs_changed_error
from partition_core.sources.source import source_module
from partition_core.store.lists import LISTED_AT


class Follower:
    """Follows one export; call the methods in this order."""

    def __init__(self, job: StepJob) -> None:
        self._job = job
        self._exports = Exports(job)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Record what is read inside the `with` block."""
        forget_results(Code(owners(self._job.project.dependency_state.search)))
        with watched() as watch:
            yield
        self._watch = watch

    def result(self, classes: Collection[str]) -> tuple[Notes, Entries]:
        """Return what was read, as notes and as entries; `classes` are the model's modules.

        Warns, once per result, about what cannot be followed. Raises BuildError for what changed
        while it was read.
        """
        followed = self._followed(self._watch, classes)
        outside = list(followed.outside)
        if outside and not self._job.recipe.model.depends_on:
            warn(_not_followed(self._job, outside))
        notes = {LISTED_AT: self._exports.key, **({NOT_FOLLOWED: outside} if outside else {})}
        return notes, followed.entries

    def _followed(self, watch: Watch, classes: Collection[str]) -> Followed:
        project, exports = self._job.project, self._exports
        stores = (str(tier.folder.parent) for tier in project.store.tiers)
        known = KnownInputs(
            frozenset(exports.paths),
            frozenset(normalized(label.removeprefix("package ")) for label, _ in exports.known),
            (str(project.state), *stores),
            # Where every export starts.
            (f"partition_core.{source_module(self._job.recipe)}",),
        )
        followed = deduced(watch, project.dependency_state, known, classes)
        if followed.changed:
            changes = [f"{label} changed" for label in followed.changed]
            raise inputs_changed_error("export", changes)
        return followed


def _not_followed(job: StepJob, outside: list[str]) -> str:
    return str(
        problem(
            job.file.place("model"),
            f"the model depends on what cannot be followed: {', '.join(outside)}",
            "changes there will not be noticed",
            "name files or packages that stand for it in 'model.depends_on'",
        )
    )
