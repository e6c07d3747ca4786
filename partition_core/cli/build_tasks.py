"""The tasks that doit runs: one door to doit, and nothing but names, order and messages in it.

A project's `dodo.py` imports all names of `__all__`, by `partition_core.tasks`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from doit import Globals, doit_cmd, task_params
from doit.action import BaseAction
from doit.exceptions import InvalidDodoFile

from partition_core.base.signals import end_orderly, is_run_by_doit, let_workers_die_with_us

if is_run_by_doit():  # before the rest, so that loading it can be interrupted
    end_orderly()

from partition_core.base.errors import PartitionError
from partition_core.base.folders import BUILD, MANIFEST, RECIPES
from partition_core.base.wording import warn
from partition_core.build.run import RecipeBuild, Run
from partition_core.build.steps import PROVE, STEPS, Row
from partition_core.cli.actions import attempt, say, say_all
from partition_core.cli.command_line import commands, paths_in_full, scope
from partition_core.cli.doit_database import MEMORY, Database
from partition_core.cli.import_tasks import IMPORT, task_import_mmdeploy
from partition_core.cli.options import WISHES, check_variables
from partition_core.cli.reporter import BuildReporter
from partition_core.cli.run_tasks import calibrate_task, detect_task
from partition_core.cli.share_tasks import transfer_task
from partition_core.cli.store_tasks import task_origin, task_prune, task_store, task_verify

__all__ = [
    "DOIT_CONFIG",
    "task_build",
    "task_calibrate",
    "task_detect",
    "task_import_mmdeploy",
    "task_origin",
    "task_prune",
    "task_pull",
    "task_push",
    "task_store",
    "task_suggest",
    "task_verify",
]

Task = dict[str, Any]

_DATABASE = ".doit.db"

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
    """Build `recipe=…`, or all: export, cut, prove, report, publish in build/<recipe>/."""
    for build in _builds():
        if dry_run:
            yield {
                "name": build.name,
                "doc": build.info.doc,
                "actions": [(_explain, [build])],
                "verbosity": 2,
            }
        else:
            yield from _build_tasks(build)


def _build_tasks(build: RecipeBuild) -> Iterator[Task]:
    names = [f"build:{build.name}:{artifact}" for artifact in build.info.artifacts]
    yield {
        "name": build.name,
        "doc": build.info.doc,
        "actions": None,
        "task_dep": names if build.is_up_to_date else [*_steps(build, STEPS[-1]), *names],
        "clean": [_Removal(build)],
    }
    for artifact, name in zip(build.info.artifacts, names, strict=True):
        after = [] if build.is_up_to_date else _before(build, artifact, names)
        target = f"{BUILD}/{build.name}/{artifact}"
        yield _task(
            build,
            name.removeprefix("build:"),
            f"Publish {target} once it is proven.",
            functools.partial(build.publish, artifact, say),
            artifact,
            build.is_published,
            after,
            targets=[target],
            clean=[_Removal(build, artifact)],
        )


def _before(build: RecipeBuild, artifact: str, names: list[str]) -> list[str]:
    """Return the tasks that come before the publishing of an artifact, one of `names`."""
    order = [step.row.kind for step in build.steps]
    made = [step.artifact for step in build.steps].index(artifact)
    last = max(made, order.index(PROVE))  # nothing is published before it is proven
    # The manifest names the models, so it is published after them.
    models = names[: build.info.artifacts.index(artifact)] if artifact == MANIFEST else []
    return [build.steps[last].task(build.name), *models]


def _step_tasks(row: Row) -> Callable[[], Iterator[Task]]:
    """Return what yields the tasks of a kind of step, for doit to call."""

    def tasks() -> Iterator[Task]:
        for build in _builds():
            for step in (step for step in build.steps if step.row is row):
                yield _task(
                    build,
                    step.task(build.name).removeprefix(f"{row.kind}:"),
                    row.title.format(recipe=build.name, subject=step.subject),
                    functools.partial(build.carry_out, str(step), say),
                    str(step),
                    build.is_done,
                    _steps(build, before=row),
                )

    tasks.__doc__ = row.summary
    return tasks


_STEP_TASKS = {f"task_{row.kind}": _step_tasks(row) for row in STEPS}
# doit takes tasks by the names that a project's dodo.py imports.
globals().update(_STEP_TASKS)
__all__ += [f"task_{row.kind}" for row in STEPS]


def task_suggest() -> Iterator[Task]:
    """Tell where the models of recipes may best be cut; changes no recipe."""
    builds = _builds()
    if "suggest" in commands():
        _check_wishes()
    for build in builds:
        yield {
            "name": build.name,
            "doc": f"Tell where the model of '{build.name}' may best be cut.",
            "actions": [(_advise, [build, _wishes()])],
            "task_dep": [f"export:{build.name}"],
            "verbosity": 2,
            "meta": {"recipe": build.name},
        }


def _check_wishes() -> None:
    from partition_core.suggest.wishes import SuggestOptions  # of use for this command only

    try:
        SuggestOptions.of(_wishes())
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error


def _wishes() -> dict[str, str]:
    variables = doit_cmd._CMDLINE_VARS or {}
    return {name: variables[name] for name in WISHES if name in variables}


def _advise(build: RecipeBuild, wishes: dict[str, str]) -> object:
    return attempt(lambda: say_all(build.advice(wishes, say)), _file(build))


def task_detect() -> Task:
    """Find objects in `image=…` with `recipe=…`: the picture with boxes, and a JSON file."""
    return _on_build("detect", detect_task)


def task_calibrate() -> Task:
    """Write what enters each segment of `recipe=…` for the pictures in `images=…`."""
    return _on_build("calibrate", calibrate_task)


def _on_build(
    command: str, make: Callable[[Sequence[RecipeBuild], Mapping[str, str], bool], Task]
) -> Task:
    builds = _builds()
    try:
        return make(builds, paths_in_full(doit_cmd._CMDLINE_VARS or {}), command in sys.argv[1:])
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error


def task_push() -> Task:
    """Give results to the shared store: all of a recipe's, or `artifact=…` of them."""
    return transfer_task("push", _builds, doit_cmd.get_var("artifact"))


def task_pull() -> Task:
    """Take artifacts from the shared store: all of a recipe's, or `artifact=…` of them."""
    return transfer_task("pull", _builds, doit_cmd.get_var("artifact"))


def _steps(build: RecipeBuild, before: Row) -> list[str]:
    """Return the tasks of the steps of kinds before one, in the order of the work.

    doit starts tasks in the order in which another one asks for them, but those that had to wait
    in any order: so whoever needs a cut asks for the export first.
    """
    kinds = STEPS[: STEPS.index(before)]
    return [step.task(build.name) for step in build.steps if step.row in kinds]


def _task(
    build: RecipeBuild,
    name: str,
    doc: str,
    act: Callable[[], bool],
    what: str,
    is_done: Callable[[str], bool],
    after: list[str],
    **more: Any,
) -> Task:
    return {
        "name": name,
        "doc": doc,
        "actions": [(attempt, [act, _file(build)])],
        "uptodate": [build.is_up_to_date or _UpToDate(build, what, is_done)],
        "task_dep": after,
        "verbosity": 2,
        "meta": {"recipe": build.name},
        **more,
    }


class _UpToDate:
    """Whether a task has nothing to do; `doit info` shows its text, the reason why not."""

    def __init__(self, build: RecipeBuild, what: str, is_done: Callable[[str], bool]) -> None:
        self._build = build
        self._what = what
        self._is_done = is_done

    def __call__(self) -> bool:
        """Return the answer; what cannot be found out is not done, and the action will say why."""
        try:
            return self._is_done(self._what)
        except (PartitionError, OSError):
            return False

    def __repr__(self) -> str:
        return self._build.reason(self._what)


class _Removal(BaseAction):  # type: ignore[misc]  # reason: doit has no types
    """Removes the artifacts of a recipe, `doit clean build:<recipe>`, or one of them."""

    def __init__(self, build: RecipeBuild, artifact: str | None = None) -> None:
        self._build = build
        self._artifact = artifact
        self.task = None

    def execute(self, out: Any = None, err: Any = None) -> object:
        """Remove them; doit tells."""
        return attempt(lambda: self._build.remove(self._artifact), _file(self._build))

    def __str__(self) -> str:
        return f"remove {BUILD}/{self._build.name}/{self._artifact or ''}".rstrip("/")


def _explain(build: RecipeBuild) -> object:
    return attempt(lambda: say_all(build.explanation()), _file(build))


def _file(build: RecipeBuild) -> str:
    return f"{RECIPES}/{build.name}.yaml"


def _builds() -> list[RecipeBuild]:
    """Return the builds of the chosen recipes, made once for all tasks of one run of doit."""
    variables = dict(doit_cmd._CMDLINE_VARS or {})
    try:
        about = scope(tuple(sys.argv[1:]), variables.get("recipe"))
        check_variables(variables)
        if IMPORT in commands():
            return []  # `recipe` is what will be written
        BuildReporter.run = _run(Path.cwd(), *about)
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error
    _use_own_database()
    end_orderly()
    return BuildReporter.run.builds


_run = functools.lru_cache(maxsize=1)(Run)


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


let_workers_die_with_us()
