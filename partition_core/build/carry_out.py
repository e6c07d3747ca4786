"""Carries out steps: look up, work in a private folder, check the outputs, store them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from partition_core.base.errors import BuildError
from partition_core.base.fingerprint import Fingerprint, changes
from partition_core.base.progress import Say
from partition_core.build.note_checks import FINGERPRINT
from partition_core.build.plan import Plan
from partition_core.build.step import Entries, Step, inputs_changed_error, missing_result_error
from partition_core.build.steps import EXPORT, module_of
from partition_core.store.entry import Origin, Result
from partition_core.store.tiers import Store

T = TypeVar("T")


def carry_out(plan: Plan, name: str, say: Say) -> bool:
    """Carry out the step called `name` unless its result is cached; return whether it ran.

    Raises PartitionError. One process at a time works on a step; the others then get a cache hit.
    If the fingerprint differs after the work, an input changed meanwhile and the result is
    discarded.
    """
    step = plan.step(name)
    if step is None:
        raise missing_result_error(name)
    store, row = plan.project.store, plan.names[name].row
    work = module_of(row.kind).work(plan.job(name, say), plan.names[name].subject)

    def work_and_store(folder: Path) -> tuple[Step, Result]:
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
        after, result = _in_private_folder(store, work_and_store)
        if _is_followed(plan, step):
            plan.exports.store_list(after.fingerprint)
    plan.remember(after, result)
    if step.name == EXPORT:
        # A traced program refers to itself: its weights would stay beside those of the proof.
        del work, work_and_store
        gc.collect()
    return True


def _is_followed(plan: Plan, step: Step) -> bool:
    return step.name == EXPORT and plan.exports.is_followed


def _in_private_folder(store: Store, act: Callable[[Path], T]) -> T:
    """Act in a private folder on the store's disk, or retry in another one if that disk fails."""
    try:
        with store.private_folder() as folder:
            return act(folder)
    except OSError as error:
        if not store.gives_up(error):
            raise
    with store.private_folder() as folder:
        return act(folder)


def _check_outputs(step: Step, folder: Path) -> None:
    outputs = {path.name for path in folder.iterdir()}
    problems = [f"'{name}' is missing" for name in step.files if name not in outputs]
    problems += [f"'{name}' is not declared" for name in sorted(outputs - set(step.files))]
    if problems:
        raise BuildError.at(step.name, "; ".join(problems), "expected the declared outputs")


def _afterwards(plan: Plan, step: Step, followed: Entries) -> Step:
    """Return the step with what it depended on while it ran; raises BuildError if an input known
    before that has changed."""
    fresh = plan.fresh_copy()
    if step.name == EXPORT:
        before, now = Fingerprint(plan.exports.known), Fingerprint(fresh.exports.known)
        after = plan.export_with(followed)
    else:
        again = fresh.step(step.name)
        if again is None:
            raise inputs_changed_error(step.name, ["the result that it starts from was removed"])
        before, now, after = step.fingerprint, again.fingerprint, again
    if now != before:
        raise inputs_changed_error(step.name, changes(before, now))
    return after
