"""An export that is followed: what it turned out to depend on, and what nobody can know of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from partition_core.base.errors import problem
from partition_core.base.fingerprint import Fingerprint, changes
from partition_core.base.wording import warn
from partition_core.build.dependencies.deducing import Followed, Known, deduced
from partition_core.build.dependencies.installed import normalized, owners
from partition_core.build.dependencies.notes import Watch
from partition_core.build.dependencies.remembered import forget_results
from partition_core.build.dependencies.used_modules import Code
from partition_core.build.dependencies.watching import watched
from partition_core.build.forms import NOT_FOLLOWED
from partition_core.build.plan import Plan, Step
from partition_core.build.work import changed_meanwhile
from partition_core.store.lists import LISTED_AT

ROOTS = ("partition_core.sources.traced",)
"""Where an export starts: what these modules import is used by each."""


class Follower:
    """Follows one export of a plan; its methods are called in the order in which they are here."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._followed = Followed((), (), ())

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """See what is read until the end."""
        forget_results(Code(owners(self._plan.project.around.search)))
        with watched() as watch:
            yield
        self._watch = watch

    def take(self, classes: Collection[str]) -> dict[str, Any]:
        """Find out what was read, and return it as notes; `classes` are the model's modules.

        Tells, once for a result, what cannot be followed. Raises BuildError for what changed
        while it was read.
        """
        self._followed = self._found(self._watch, classes)
        outside = list(self._followed.outside)
        if outside and not self._is_declared():
            warn(_told(self._plan, outside))
        return {LISTED_AT: self._plan.exports.key, **({NOT_FOLLOWED: outside} if outside else {})}

    def step(self) -> Step:
        """Return the export with all it depends on; raises BuildError if what was known changed."""
        exports = self._plan.exports
        now = self._plan.afresh().exports.known
        if now != exports.known:
            raise changed_meanwhile("export", changes(Fingerprint(exports.known), Fingerprint(now)))
        return self._plan.export_with(self._followed.entries)

    def _found(self, watch: Watch, classes: Collection[str]) -> Followed:
        plan = self._plan
        project, exports = plan.project, plan.exports
        stores = (str(tier.folder.parent) for tier in project.store.tiers)
        known = Known(
            frozenset(exports.paths),
            frozenset(normalized(label.removeprefix("package ")) for label, _ in exports.known),
            (str(project.state), *stores),
            ROOTS,
        )
        found = deduced(watch, project.around, known, classes)
        if found.changed:
            raise changed_meanwhile("export", [f"{label} changed" for label in found.changed])
        return found

    def _is_declared(self) -> bool:
        return bool(self._plan.file.recipe.model.depends_on)


def _told(plan: Plan, outside: list[str]) -> str:
    place = plan.file.place("model")
    return str(
        problem(
            place,
            f"the model depends on what cannot be followed: {', '.join(outside)}",
            "a change of that will not be noticed",
            "name files or packages that stand for it in 'model.depends_on'",
        )
    )
