"""The tasks that doit runs: one door to doit, and nothing but names, order and messages in it.

A project's `dodo.py` imports all names of `__all__` from here.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from doit import Globals, doit_cmd, task_params
from doit.action import BaseAction
from doit.exceptions import InvalidDodoFile, TaskFailed

from partition_core.building import explain, publish, work
from partition_core.building.plan import Plan, Step
from partition_core.building.project import BUILD, Project, warn
from partition_core.building.recipes import Recipes
from partition_core.database import MEMORY, Database
from partition_core.errors import (
    PartitionError,
    Place,
    Problem,
    RecipeError,
    one_of,
    problem,
    suggestion,
)
from partition_core.reporter import MADE, BuildReporter

__all__ = ["DOIT_CONFIG", "task_build", "task_cut", "task_export", "task_prove"]

Task = dict[str, Any]

_VARIABLES = ("recipe",)
_DATABASE = ".doit.db"

_PR_SET_PDEATHSIG = 1

DOIT_CONFIG = {
    "default_tasks": ["build"],
    # What a recipe lacks, such as its checkpoint, is no reason not to build the others.
    "continue": True,
    # Until the tasks are loaded; see _use_own_database.
    "backend": "sqlite3",
    "dep_file": MEMORY,
    "reporter": BuildReporter,
}


@task_params(  # type: ignore[untyped-decorator]  # reason: doit has no types
    [
        {
            "name": "dry_run",
            "long": "dry-run",
            "type": bool,
            "default": False,
            "help": "tell what would be done for each step, and why; change nothing",
        }
    ]
)
def task_build(dry_run: bool) -> Iterator[Task]:
    """Build recipes: export, cut, prove, then publish the artifacts in build/<recipe>/."""
    for plan in _plans():
        if dry_run:
            yield {
                "name": plan.recipe,
                "doc": _described(plan),
                "actions": [(_explain, [plan])],
                "verbosity": 2,
            }
            continue
        names = [f"{plan.recipe}:{artifact}" for artifact in plan.artifacts]
        yield {
            "name": plan.recipe,
            "doc": _described(plan),
            "actions": None,
            "task_dep": [*_steps(plan), *(f"build:{name}" for name in names)],
            "clean": [_Removal(plan)],
        }
        for artifact, name in zip(plan.artifacts, names, strict=True):
            target = f"{BUILD}/{plan.recipe}/{artifact}"
            # The manifest names the other artifacts, so it is published after them.
            before = names[:-1] if artifact == plan.artifacts[-1] else []
            yield _task(
                plan,
                name,
                f"Publish {target} once it is proven.",
                functools.partial(publish.publish, plan, artifact),
                artifact,
                functools.partial(publish.is_published, plan, artifact),
                [f"prove:{plan.recipe}", *(f"build:{other}" for other in before)],
                targets=[target],
                clean=True,
            )


def task_export() -> Iterator[Task]:
    """Export the models of recipes to ONNX, with their marks (into the store)."""
    for plan in _plans():
        yield _task(
            plan,
            plan.recipe,
            f"Export the model of '{plan.recipe}' to ONNX.",
            functools.partial(work.export, plan, _say),
            "export",
            functools.partial(_is_done, plan, plan.export),
            [],
        )


def task_cut() -> Iterator[Task]:
    """Cut the segments of recipes out of their exported models (into the store)."""
    for plan in _plans():
        for segment in plan.segments:
            yield _task(
                plan,
                f"{plan.recipe}:{segment.save_file}",
                f"Cut {segment.save_file} out of the model of '{plan.recipe}'.",
                functools.partial(work.cut, plan, segment, _say),
                f"cut {segment.save_file}",
                functools.partial(_is_done, plan, functools.partial(plan.cut, segment)),
                [f"export:{plan.recipe}"],
            )


def task_prove() -> Iterator[Task]:
    """Prove that segments equal the whole, and the whole equals PyTorch."""
    for plan in _plans():
        yield _task(
            plan,
            plan.recipe,
            f"Prove the segments of '{plan.recipe}'.",
            functools.partial(work.prove, plan, _say),
            "prove",
            functools.partial(_is_done, plan, plan.prove),
            _steps(plan)[:-1],
        )


def _steps(plan: Plan) -> list[str]:
    """Return the tasks of the steps, in the recipe's order.

    doit starts tasks in the order in which another one asks for them, but those that had to wait
    in any order: so whoever needs a cut asks for the export first.
    """
    cuts = [f"cut:{plan.recipe}:{segment.save_file}" for segment in plan.segments]
    return [f"export:{plan.recipe}", *cuts, f"prove:{plan.recipe}"]


def _task(
    plan: Plan,
    name: str,
    doc: str,
    act: Callable[[], bool],
    what: str,
    is_done: Callable[[], bool],
    after: list[str],
    **more: Any,
) -> Task:
    return {
        "name": name,
        "doc": doc,
        "actions": [(_attempt, [act, plan.file.file])],
        "uptodate": [_UpToDate(plan, what, is_done)],
        "task_dep": after,
        "verbosity": 2,
        "meta": {"recipe": plan.recipe},
        **more,
    }


class _UpToDate:
    """Whether a task has nothing to do; `doit info` shows its text, the reason why not."""

    def __init__(self, plan: Plan, what: str, is_done: Callable[[], bool]) -> None:
        self._plan = plan
        self._what = what
        self._is_done = is_done

    def __call__(self) -> bool:
        """Return the answer; what cannot be found out is not done, and the action will say why."""
        try:
            return self._is_done()
        except (PartitionError, OSError):
            return False

    def __repr__(self) -> str:
        return explain.reason(self._plan, self._what)


class _Removal(BaseAction):  # type: ignore[misc]  # reason: doit has no types
    """Removes the artifacts of a recipe: `doit clean build:<recipe>`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.task = None

    def execute(self, out: Any = None, err: Any = None) -> object:
        """Remove them; doit tells."""
        removal = functools.partial(publish.remove, self._plan)
        return _attempt(removal, self._plan.file.file)

    def __str__(self) -> str:
        return f"remove {BUILD}/{self._plan.recipe}"


def _explain(plan: Plan) -> None:
    for line in explain.explanation(plan):
        _say(line)


_one_at_a_time = threading.Lock()  # torch cannot trace in two threads (`doit -P thread`)


def _attempt(act: Callable[[], bool], recipe: str) -> dict[str, bool] | TaskFailed:
    try:
        with _one_at_a_time:
            return {MADE: act()}
    except PartitionError as error:
        return TaskFailed("\n".join(str(_placed(one, recipe)) for one in error.problems))
    except OSError as error:
        where = Place(str(error.filename or "disk"))
        return TaskFailed(str(problem(where, error.strerror or str(error))))
    except _Terminated:
        raise
    except SystemExit as error:  # of the user's model
        what = f"the model ends Python, with code {error.code}"
        return TaskFailed(str(problem(Place(recipe), what)))


def _placed(one: Problem, recipe: str) -> Problem:
    """Return a problem of the models with the recipe's file, since several may be built."""
    if one.place.file:
        return one
    return dataclasses.replace(one, place=Place(recipe, 0, one.place.path))


def _is_done(plan: Plan, step: Callable[[], Step | None]) -> bool:
    return publish.is_all_published(plan) or plan.is_done(step())


_parent = 0


def _remember_parent() -> None:
    global _parent  # noqa: PLW0603  # reason: hooks of a fork share nothing else
    _parent = os.getpid()


def _die_with_parent() -> None:
    """Let a worker process of `doit -n` end when doit is killed, instead of working on alone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != _parent:  # it was killed before it could be watched
        os.kill(os.getpid(), signal.SIGKILL)


def _end_orderly() -> None:
    """Let an interrupted run remove what it was working on, and say so in one line."""
    sys.excepthook = _tell_interruption
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _tell_interruption(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        warn("interrupted; what was finished is kept")
    else:
        sys.__excepthook__(kind, error, trace)


class _Terminated(SystemExit):
    """The run was asked to end."""


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise _Terminated(128 + signum)


def _say(message: str) -> None:
    print(message, flush=True)


def _described(plan: Plan) -> str:
    count = len(plan.segments)
    return f"{plan.file.recipe.partition.type}: {count} segment{'s' if count != 1 else ''}."


def _plans() -> list[Plan]:
    """Return the plans of the chosen recipes, made once for all tasks of one run of doit."""
    variables = dict(doit_cmd._CMDLINE_VARS or {})
    try:
        _check_variables(variables)
        plans = _plans_of(Path.cwd(), variables.get("recipe"))
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error
    _use_own_database()
    _end_orderly()
    BuildReporter.plans = {plan.recipe: plan for plan in plans}
    return list(plans)


def _use_own_database() -> None:
    """Let doit remember in our database.

    doit knows a backend by the name of an entry point, which an installation may lack that is
    older than the code. So doit starts with an empty database of its own, which is replaced here.
    """
    manager = Globals.dep_manager
    if manager is None or isinstance(manager.backend, Database):
        return
    name = _DATABASE if manager.name == MEMORY else manager.name
    manager.__init__(
        lambda name, codec, module_name: Database(name, codec, warn), name, type(manager.checker)
    )


@functools.lru_cache(maxsize=1)
def _plans_of(root: Path, chosen: str | None) -> tuple[Plan, ...]:
    project = Project.at(root)
    recipes = Recipes(project)
    plans: list[Plan] = []
    problems: list[Problem] = []
    for name in project.chosen_recipes(chosen):
        try:
            plan = Plan(project, recipes.open(name))
            plan.export()
            plans.append(plan)
        except PartitionError as error:
            problems.extend(error.problems)
    if problems:
        raise RecipeError(*problems)
    recipes.save()
    return tuple(plans)


def _check_variables(variables: Mapping[str, str]) -> None:
    unknown = [name for name in variables if name not in _VARIABLES]
    if unknown:
        raise RecipeError(
            *(
                problem(
                    f"{name}={variables[name]}",
                    f"unknown variable '{name}'",
                    one_of(_VARIABLES),
                    suggestion(name, _VARIABLES),
                )
                for name in unknown
            )
        )


if sys.platform == "linux":
    os.register_at_fork(before=_remember_parent, after_in_child=_die_with_parent)
