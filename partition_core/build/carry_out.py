"""Carries out steps: look up, work in a private folder, check what came out, keep it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from partition_core.base.errors import BuildError
from partition_core.base.fingerprint import Fingerprint, changes
from partition_core.base.progress import Say
from partition_core.build.note_forms import FINGERPRINT
from partition_core.build.plan import Plan
from partition_core.build.step import Entries, Step, changed_meanwhile, gone
from partition_core.build.steps import EXPORT, module_of
from partition_core.store.entry import Origin, Result
from partition_core.store.tiers import Store

T = TypeVar("T")


def carry_out(plan: Plan, name: str, say: Say) -> bool:
    """Do the work of the step called `name` unless its result is there; return whether it was done.

    Raises PartitionError. One process at a time works on a step; the others then find its result.
    If the step has another fingerprint after the work, an input changed meanwhile and nothing is
    kept.
    """
    step = plan.step(name)
    if step is None:
        raise gone(name)
    store, row = plan.project.store, plan.names[name].row
    work = module_of(row.kind).work(plan.job(name, say), plan.names[name].subject)

    def act(folder: Path) -> tuple[Step, Result]:
        start = time.monotonic()
        outcome = work(folder)
        _check_outputs(step, folder)
        after = _afterwards(plan, step, outcome.entries)
        result = store.keep(
            after.key,
            {name: folder / name for name in step.files},
            {**outcome.notes, FINGERPRINT: [list(entry) for entry in after.fingerprint.entries]},
            Origin(plan.recipe, step.name, round(time.monotonic() - start, 1)),
        )
        return after, result

    with store.locked(plan.exports.key if _is_followed(plan, step) else step.key):
        if plan.is_done(step):
            return False
        plan.project.check_build_folder(plan.recipe)
        after, result = _in_private_folder(store, act)
        if _is_followed(plan, step):
            plan.exports.keep(after.fingerprint)
    plan.remember(after, result)
    if step.name == EXPORT:
        # A traced program refers to itself: its weights would stay beside those of the proof.
        del work, act
        gc.collect()
    return True


def _is_followed(plan: Plan, step: Step) -> bool:
    return step.name == EXPORT and plan.exports.is_followed


def _in_private_folder(store: Store, act: Callable[[Path], T]) -> T:
    """Act in a private folder on the store's disk, or again in another one if that disk refuses."""
    try:
        with store.private_folder() as folder:
            return act(folder)
    except OSError as error:
        if not store.gives_up(error):
            raise
    with store.private_folder() as folder:
        return act(folder)


def _check_outputs(step: Step, folder: Path) -> None:
    made = {path.name for path in folder.iterdir()}
    wrong = [f"'{name}' is missing" for name in step.files if name not in made]
    wrong += [f"'{name}' is not declared" for name in sorted(made - set(step.files))]
    if wrong:
        raise BuildError.at(step.name, "; ".join(wrong), "expected what the step declares")


def _afterwards(plan: Plan, step: Step, followed: Entries) -> Step:
    """Return the step with what it turned out to depend on; raises BuildError if what was known
    before it ran is another now."""
    fresh = plan.afresh()
    if step.name == EXPORT:
        before, now = Fingerprint(plan.exports.known), Fingerprint(fresh.exports.known)
        after = plan.export_with(followed)
    else:
        again = fresh.step(step.name)
        if again is None:
            raise changed_meanwhile(step.name, ["its start is gone"])
        before, now, after = step.fingerprint, again.fingerprint, again
    if now != before:
        raise changed_meanwhile(step.name, changes(before, now))
    return after
