"""The tasks that doit runs: one door to doit, and nothing but names, order and messages in it.

A project's `dodo.py` imports all names of `__all__` from here.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit import doit_cmd, task_params
from doit.exceptions import InvalidDodoFile

from partition_core.actions import attempt, say
from partition_core.building.folders import BUILD
from partition_core.building.run import RecipeBuild, Run
from partition_core.errors import PartitionError, RecipeError, one_of, problem, suggestion
from partition_core.reporter import BuildReporter
from partition_core.store_tasks import task_origin, task_prune, task_store, task_verify

if TYPE_CHECKING:
    from partition_core.building.plan import Plan, Step

__all__ = [
    "DOIT_CONFIG",
    "task_build",
    "task_cut",
    "task_export",
    "task_origin",
    "task_prove",
    "task_prune",
    "task_store",
    "task_verify",
]

Task = dict[str, Any]

_VARIABLES = ("recipe",)

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
    for build in _builds():
        recipe, doc, _, artifacts = build.outline
        if dry_run:
            explain = functools.partial(build.explain, say)
            yield {"name": recipe, "doc": doc, "actions": [(attempt, [explain])], "verbosity": 2}
            continue
        names = [f"{recipe}:{artifact}" for artifact in artifacts]
        yield {
            "name": recipe,
            "doc": doc,
            "actions": None,
            "task_dep": [f"build:{name}" for name in names],
        }
        for artifact, name in zip(artifacts, names, strict=True):
            target = f"{BUILD}/{recipe}/{artifact}"
            after = []
            if not build.is_settled:
                # The manifest names the other artifacts, so it is published after them.
                others = names[:-1] if artifact == artifacts[-1] else []
                after = [f"prove:{recipe}", *(f"build:{other}" for other in others)]
            yield _task(
                build,
                name,
                f"Publish {target} once it is proven.",
                functools.partial(build.publish, artifact, say),
                functools.partial(build.is_published, artifact),
                after,
                targets=[target],
                clean=True,
            )


def task_export() -> Iterator[Task]:
    """Export the models of recipes to ONNX, with their marks (into the store)."""
    for build in _builds():
        yield _task(
            build,
            build.name,
            f"Export the model of '{build.name}' to ONNX.",
            functools.partial(build.export, say),
            functools.partial(build.is_done, lambda plan: plan.export()),
            [],
        )


def task_cut() -> Iterator[Task]:
    """Cut the segments of recipes out of their exported models (into the store)."""
    for build in _builds():
        for save_file in build.outline.segments:
            yield _task(
                build,
                f"{build.name}:{save_file}",
                f"Cut {save_file} out of the model of '{build.name}'.",
                functools.partial(build.cut, save_file, say),
                functools.partial(build.is_done, functools.partial(_cut_of, save_file)),
                [f"export:{build.name}"],
            )


def task_prove() -> Iterator[Task]:
    """Prove that segments equal the whole, and the whole equals PyTorch."""
    for build in _builds():
        yield _task(
            build,
            build.name,
            f"Prove the segments of '{build.name}'.",
            functools.partial(build.prove, say),
            functools.partial(build.is_done, lambda plan: plan.prove()),
            [f"cut:{build.name}:{save_file}" for save_file in build.outline.segments],
        )


def _task(
    build: RecipeBuild,
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
        "actions": [(attempt, [act])],
        "uptodate": [build.is_settled or is_done],
        "task_dep": after,
        "verbosity": 2,
        "meta": {"build": build},
        **more,
    }


def _cut_of(save_file: str, plan: Plan) -> Step | None:
    return plan.cut(plan.segment(save_file))


def _die_with_parent() -> None:
    """Let a worker process of `doit -n` end when doit is killed, instead of working on alone."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _builds() -> list[RecipeBuild]:
    """Return the builds of the chosen recipes, made once for all tasks of one run of doit."""
    variables = dict(doit_cmd._CMDLINE_VARS or {})
    try:
        _check_variables(variables)
        return _run(Path.cwd(), variables.get("recipe")).builds
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error


_run = functools.lru_cache(maxsize=1)(Run)


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
    os.register_at_fork(after_in_child=_die_with_parent)
