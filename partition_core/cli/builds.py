"""The builds of one run of doit: which recipes, and what doit is set to."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from doit import Globals, doit_cmd
from doit.exceptions import InvalidDodoFile

from partition_core.base.errors import PartitionError, one_of, problem
from partition_core.base.folders import RECIPES
from partition_core.base.signals import handle_signals
from partition_core.base.wording import warn
from partition_core.build.run import RecipeBuild, Run
from partition_core.cli.command_line import check_variables, scope
from partition_core.cli.doit_database import MEMORY, Database
from partition_core.cli.reporter import BuildReporter

Task = dict[str, Any]

_DATABASE = ".doit.db"

DOIT_CONFIG = {
    "default_tasks": ["build"],
    # A recipe that fails, for example without its checkpoint, must not stop the others.
    "continue": True,
    # Until the tasks are loaded; see _use_own_database.
    "backend": "sqlite3",
    "dep_file": MEMORY,
    "reporter": BuildReporter,
}


def file_of(build: RecipeBuild) -> str:
    """Return the file of a build's recipe, for messages."""
    return f"{RECIPES}/{build.full_name.recipe}.yaml"


def selected_builds() -> list[RecipeBuild]:
    """Return the builds of the selected recipes, created once per run of doit."""
    variables = dict(doit_cmd._CMDLINE_VARS or {})
    try:
        about = scope(tuple(sys.argv[1:]), variables.get("recipe"))
        check_variables(variables)
        BuildReporter.run = _run(Path.cwd(), *about)
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error
    _use_own_database()
    handle_signals()
    return BuildReporter.run.builds


def tasks_of_variants(command: str) -> Iterator[tuple[list[RecipeBuild], Task]]:
    """Yield a task for each recipe whose variants are all selected, behind theirs, and its builds.

    So a recipe's name stands for all its variants: `doit build:llama`.
    """
    variants: dict[str, list[RecipeBuild]] = {}
    for build in selected_builds():
        if build.full_name.variant:
            variants.setdefault(build.full_name.recipe, []).append(build)
    for recipe, builds in variants.items():
        names = [build.name for build in builds]
        if set(builds[0].overview.builds) <= set(names):
            yield (
                builds,
                {
                    "name": recipe,
                    "doc": f"All variants: {', '.join(names)}.",
                    "actions": None,
                    "task_dep": [f"{command}:{name}" for name in names],
                },
            )


def check_number(command: str, builds: Sequence[RecipeBuild]) -> None:
    """Raise InvalidDodoFile unless one recipe is selected, as `command` needs."""
    if len(builds) != 1:
        what = f"takes one recipe at a time, but {len(builds)} are selected"
        if len({build.full_name.recipe for build in builds}) == 1 and builds:
            what = f"takes one variant at a time, but '{builds[0].full_name.recipe}' has several"
        expected = f"expected recipe=…, {one_of(build.name for build in builds)}"
        raise InvalidDodoFile(str(problem(f"doit {command}", what, expected)))


_run = functools.lru_cache(maxsize=1)(Run)


def _use_own_database() -> None:
    """Replace doit's database by ours.

    doit finds a backend by an entry point, which an installation older than the code may lack.
    So doit starts with an empty database of its own, which is replaced here.
    """
    manager = Globals.dep_manager
    if manager is None or isinstance(manager.backend, Database):
        return
    name = _DATABASE if manager.name == MEMORY else manager.name
    manager.__init__(
        lambda name, codec, module_name: Database(name, codec, warn), name, type(manager.checker)
    )
