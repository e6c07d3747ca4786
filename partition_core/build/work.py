"""Carries out steps: look up, work in a private folder, check what came out, keep it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from partition_core.base.errors import BuildError, problem
from partition_core.base.fingerprint import changes
from partition_core.build.forms import FINGERPRINT
from partition_core.build.plan import Plan, Step
from partition_core.store.entry import Origin, Result, StoredFile
from partition_core.store.tiers import Store

Notes = Mapping[str, Any]
T = TypeVar("T")


def carry_out(
    plan: Plan,
    step: Step,
    work: Callable[[Path], Notes],
    ended: Callable[[], Step] | None = None,
) -> bool:
    """Do the work of a step unless its result is there by now; return whether it was done.

    One process at a time works on a step; the others then find its result. If the step has another
    fingerprint after the work, an input changed meanwhile and nothing is kept. `ended` returns,
    after the work, the fingerprint of a step which is known only then.
    """
    store = plan.project.store

    def act(folder: Path) -> tuple[Step, Result]:
        start = time.monotonic()
        notes = work(folder)
        _check_outputs(step, folder)
        after = ended() if ended else _unchanged(step, plan.afresh().step(step.name))
        result = store.keep(
            after.key,
            {name: folder / name for name in step.files},
            {**notes, FINGERPRINT: [list(entry) for entry in after.fingerprint.entries]},
            Origin(plan.recipe, step.name, round(time.monotonic() - start, 1)),
        )
        return after, result

    with store.locked(plan.exports.key if ended else step.key):
        if plan.is_done(step):
            return False
        plan.project.check_build_folder(plan.recipe)
        after, result = _in_private_folder(store, act)
        if ended:
            plan.exports.keep(after.fingerprint)
    plan.found(after, result)
    return True


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
        raise BuildError(problem(step.name, "; ".join(wrong), "expected what the step declares"))


def _unchanged(before: Step, after: Step | None) -> Step:
    if after is None or after.key != before.key:
        told = changes(before.fingerprint, after.fingerprint) if after else ["its start is gone"]
        raise changed_meanwhile(before.name, told)
    return after


def changed_meanwhile(step: str, told: Sequence[str]) -> BuildError:
    """Return the error that inputs of a step changed, in the words `told`, while it ran."""
    return BuildError(
        problem(
            step,
            f"while it ran, {'; '.join(told)}",
            "what it gave belongs to neither state and is not kept",
            "build again",
        )
    )


def known(step: Step | None, name: str) -> Step:
    """Return a step that starts from results; raises BuildError if these are gone."""
    if step is None:
        raise BuildError(
            problem(name, "what it starts from is not in the store any more", "", "build again")
        )
    return step


@contextlib.contextmanager
def laid_out(plan: Plan, names: Sequence[str]) -> Iterator[tuple[dict[str, Path], Path]]:
    """Yield the paths of stored models, for reading only, and a private folder.

    Models whose weights are in another file lie in the folder, and so do those files, called as
    the models call them: as in the build folder. (onnxruntime follows no symbolic link to them.)
    """
    store, made = plan.project.store, plan.models_made()
    paths: dict[str, Path] = {}
    with contextlib.ExitStack() as held:
        folder = held.enter_context(store.private_folder())
        for name in names:
            model = made[name]
            paths[name] = stored(plan, model.file)
            if model.weights is None:
                continue
            paths[name] = Path(shutil.copyfile(paths[name], folder / name))
            weights = folder / model.weights_name
            if not weights.exists() and not held.enter_context(store.lent(model.weights, weights)):
                raise lost(model.weights_name)
        yield paths, folder


def stored(plan: Plan, file: StoredFile) -> Path:
    """Return where a file of a result is, for reading only; raises BuildError if it is gone."""
    path = plan.project.store.path_of(file)
    if path is None:
        raise lost(file.digest)
    return path


def lost(name: str) -> BuildError:
    """Return the error that a file of a result is not in the store any more."""
    return BuildError(
        problem(
            "store",
            f"'{name}' was removed or damaged while it was needed",
            "",
            "build again: it will be made anew",
        )
    )


@contextlib.contextmanager
def packages_of(plan: Plan) -> Iterator[None]:
    """Tell a package that is missing, or that a library of the system is missing for."""
    source = plan.file.recipe.model.source
    try:
        yield
    except ImportError as error:
        raise BuildError(
            problem(
                plan.file.place("model.source"),
                f"source '{source}' needs a package that cannot be imported: {error}",
                f"it is installed with `pip install 'partition-core[{source}]'`",
                "for 'libGL.so.1' install the system's package libgl1",
            )
        ) from error
