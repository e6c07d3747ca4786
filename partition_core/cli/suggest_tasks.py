"""The tasks that help to choose a cut: `doit suggest` and `doit tensors`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from doit import doit_cmd
from doit.exceptions import InvalidDodoFile

from partition_core.base.disk import write_whole
from partition_core.base.errors import PartitionError
from partition_core.base.wording import counted
from partition_core.build.run import RecipeBuild
from partition_core.cli.actions import attempt, say, say_all
from partition_core.cli.builds import (
    Task,
    check_number,
    file_of,
    selected_builds,
    tasks_of_variants,
)
from partition_core.cli.command_line import commands, paths_in_full
from partition_core.cli.commands import COMMANDS


def task_suggest() -> Iterator[Task]:
    """Suggest where to cut the models of recipes; change no recipe."""
    builds = selected_builds()
    if "suggest" in commands():
        _check_suggest_variables()
    yield from _tasks("suggest", "Suggest where to cut the model of '{}'.", _advise, builds)


def task_tensors() -> Iterator[Task]:
    """List the tensors that models of recipes can be cut at; `match=` a pattern, `out=` JSON."""
    builds = selected_builds()
    if "tensors" in commands() and _variables("tensors").get("out"):
        check_number("tensors", builds)
    about = "List the tensors that the model of '{}' can be cut at."
    yield from _tasks("tensors", about, _list_tensors, builds)


def _tasks(
    command: str,
    about: str,
    action: Callable[[RecipeBuild, dict[str, str]], object],
    builds: Iterable[RecipeBuild],
) -> Iterator[Task]:
    """Yield a task for each build; `about` takes the name of the recipe.

    It exports the model itself, since the task of the export fails where only the cut is wrong.
    """
    for build in builds:
        yield {
            "name": build.name,
            "doc": about.format(build.name),
            "actions": [(action, [build, _variables(command)])],
            "verbosity": 2,
            "meta": {"recipe": build.name},
        }
    yield from (task for _, task in tasks_of_variants(command))


def _list_tensors(build: RecipeBuild, variables: dict[str, str]) -> object:
    def lines() -> Iterator[str]:
        from partition_core.suggest.tensor_list import tensor_json, tensor_lines

        tensors = build.tensors(variables.get("match") or "*", say)
        if not variables.get("out"):
            yield from tensor_lines(tensors)
            return
        target = Path(variables["out"])
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, tensor_json(tensors))
        yield f"{target}: written, {counted(len(tensors), 'tensor')}"

    return attempt(lambda: say_all(lines()), file_of(build))


def _check_suggest_variables() -> None:
    from partition_core.suggest.wishes import SuggestOptions  # for this command only

    try:
        SuggestOptions.of(_variables("suggest"))
    except PartitionError as error:
        raise InvalidDodoFile(str(error)) from error


def _variables(command: str) -> dict[str, str]:
    own = {name for each in COMMANDS if each.name == command for name in each.variables}
    variables = paths_in_full(doit_cmd._CMDLINE_VARS or {})
    return {name: text for name, text in variables.items() if name in own}


def _advise(build: RecipeBuild, variables: dict[str, str]) -> object:
    return attempt(lambda: say_all(build.advice(variables, say)), file_of(build))
