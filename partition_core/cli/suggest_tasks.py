"""The task that suggests where to cut: `doit suggest`."""

from __future__ import annotations

from collections.abc import Iterator

from doit import doit_cmd
from doit.exceptions import InvalidDodoFile

from partition_core.base.errors import PartitionError
from partition_core.build.run import RecipeBuild
from partition_core.cli.actions import attempt, say, say_all
from partition_core.cli.builds import Task, file_of, selected_builds
from partition_core.cli.command_line import commands
from partition_core.cli.commands import COMMANDS


def task_suggest() -> Iterator[Task]:
    """Suggest where to cut the models of recipes; change no recipe."""
    builds = selected_builds()
    if "suggest" in commands():
        _check_suggest_variables()
    for build in builds:
        yield {
            "name": build.name,
            "doc": f"Suggest where to cut the model of '{build.name}'.",
            "actions": [(_advise, [build, _suggest_variables()])],
            "task_dep": [f"export:{build.name}"],
            "verbosity": 2,
            "meta": {"recipe": build.name},
        }


def _check_suggest_variables() -> None:
    from partition_core.suggest.wishes import SuggestOptions  # for this command only

    try:
        SuggestOptions.of(_suggest_variables())
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error


def _suggest_variables() -> dict[str, str]:
    own = {name for command in COMMANDS if command.name == "suggest" for name in command.variables}
    return {name: text for name, text in (doit_cmd._CMDLINE_VARS or {}).items() if name in own}


def _advise(build: RecipeBuild, variables: dict[str, str]) -> object:
    return attempt(lambda: say_all(build.advice(variables, say)), file_of(build))
