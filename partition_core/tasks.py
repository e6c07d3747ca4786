"""The tasks that doit runs: one door to doit, and nothing but names, order and messages in it.

A project's `dodo.py` imports all names of `__all__` from here.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from doit import doit_cmd, task_params
from doit.exceptions import InvalidDodoFile, TaskFailed

from partition_core.building import explain, publish, work
from partition_core.building.plan import Plan, Step
from partition_core.building.project import BUILD, Project
from partition_core.building.recipes import Recipes
from partition_core.errors import (
    PartitionError,
    Problem,
    RecipeError,
    one_of,
    problem,
    suggestion,
)
from partition_core.reporter import BuildReporter

__all__ = [
    "DOIT_CONFIG",
    "task_build",
    "task_cut",
    "task_export",
    "task_prove",
    "task_pull",
    "task_push",
]

Task = dict[str, Any]

_VARIABLES = ("artifact", "recipe")

_PR_SET_PDEATHSIG = 1

DOIT_CONFIG = {
    "default_tasks": ["build"],
    "backend": "sqlite3",
    "dep_file": ".doit.db",
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
            "task_dep": [f"build:{name}" for name in names],
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
            functools.partial(_is_done, plan, plan.prove),
            [f"cut:{plan.recipe}:{segment.save_file}" for segment in plan.segments],
        )


def task_push() -> Iterator[Task]:
    """Give results to the shared store: all of a recipe's, or `artifact=…` of them."""
    for plan in _plans():
        yield _transfer(plan, "push", f"Give what '{plan.recipe}' gave to the shared store.")


def task_pull() -> Iterator[Task]:
    """Take artifacts from the shared store: all of a recipe's, or `artifact=…` of them."""
    for plan in _plans():
        yield _transfer(plan, "pull", f"Take '{plan.recipe}' from the shared store.")


def _transfer(plan: Plan, way: str, doc: str) -> Task:
    chosen = doit_cmd.get_var("artifact")
    names = None if chosen is None else [name.strip() for name in chosen.split(",")]
    return {
        "name": plan.recipe,
        "doc": doc,
        "actions": [(_attempt, [functools.partial(_share, plan, way, names)])],
        "verbosity": 2,
        "meta": {"recipe": plan.recipe},
    }


def _share(plan: Plan, way: str, names: list[str] | None) -> None:
    # What moves bytes over a network is imported only by who asks for it.
    from partition_core.building import sharing

    move = {"push": sharing.push, "pull": sharing.pull}[way]
    for line in move(plan, names):
        _say(line)


def _task(
    plan: Plan,
    name: str,
    doc: str,
    act: Callable[[], None],
    is_done: Callable[[], bool],
    after: list[str],
    **more: Any,
) -> Task:
    return {
        "name": name,
        "doc": doc,
        "actions": [(_attempt, [act])],
        "uptodate": [is_done],
        "task_dep": after,
        "verbosity": 2,
        "meta": {"recipe": plan.recipe, "plan": plan},
        **more,
    }


def _explain(plan: Plan) -> None:
    for line in explain.explanation(plan):
        _say(line)


def _attempt(act: Callable[[], None]) -> TaskFailed | None:
    try:
        act()
    except PartitionError as error:
        return TaskFailed(str(error), report=True)
    except OSError as error:
        where = str(error.filename or "disk")
        return TaskFailed(str(problem(where, error.strerror or str(error))), report=True)
    return None


def _is_done(plan: Plan, step: Callable[[], Step | None]) -> bool:
    return publish.is_all_published(plan) or plan.is_done(step())


def _die_with_parent() -> None:
    """Let a worker process of `doit -n` end when doit is killed, instead of working on alone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
        return list(_plans_of(Path.cwd(), variables.get("recipe")))
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error


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
    if "artifact" in variables and not {"push", "pull"} & {
        word.partition(":")[0] for word in sys.argv[1:]
    }:
        raise RecipeError(
            problem(
                f"artifact={variables['artifact']}",
                "a build makes all artifacts of a recipe",
                "expected this variable with `doit push` or `doit pull`",
            )
        )


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_die_with_parent)
