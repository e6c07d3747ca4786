"""The words of doit's command line: which commands and recipes they select, and the variables.

Only selected recipes are read, so that a mistake in another one does not stop the command.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from partition_core.base.errors import RecipeError, one_of, problem, suggestion
from partition_core.cli.commands import COMMANDS

_OF_RECIPES = {command.name for command in COMMANDS if command.of_recipes}
_OF_MODELS = {command.name for command in COMMANDS if command.of_models}
_OF_NO_RECIPE = {command.name for command in COMMANDS if not command.of_recipes}
_NAMES_ITS_RECIPE = {command.name for command in COMMANDS if "recipe" in command.variables}
_BUILD_NOTHING = ("list", "clean", "info", "forget", "ignore", "reset-dep", "tabcompletion", "help")


class Scope(NamedTuple):
    """The recipes that a command selects; None means all.

    With `must_be_valid` a mistake in one of them stops the command; otherwise it is a warning. With
    `model_alone` a mistake in where a model is cut is a warning.
    """

    recipes: tuple[str, ...] | None
    must_be_valid: bool
    model_alone: bool = False


def commands() -> set[str]:
    """Return the words of the command line that may be commands, without their subtasks."""
    return {word.partition(":")[0] for word in sys.argv[1:]}


def paths_in_full(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with `~` expanded, which a shell does not do after `=`."""
    return {name: os.path.expanduser(value) for name, value in variables.items()}


def scope(words: Sequence[str], chosen: str | None) -> Scope:
    """Return the scope of a command line; `chosen` is the value of `recipe=`.

    Raises RecipeError for a variable with spaces around its `=`, and for a negative number of
    processes, with which doit would do nothing.
    """
    _check_processes(words)
    if "=" in words:
        place = words.index("=")
        name, value = "".join(words[place - 1 : place]), "".join(words[place + 1 : place + 2])
        raise RecipeError.at(
            f"{name} = {value}", "has spaces around '='", f"expected {name}={value}"
        )
    tasks = [word.split(":") for word in words]
    if any(steps[0] in _NAMES_ITS_RECIPE for steps in tasks):
        return Scope((), False)
    of_recipes = [steps for steps in tasks if steps[0] in _OF_RECIPES]
    model_alone = bool(of_recipes) and all(steps[0] in _OF_MODELS for steps in of_recipes)
    if chosen is not None:
        names = tuple(name.strip() for name in chosen.split(",") if name.strip())
        return Scope(names or ("",), True, model_alone)
    if not of_recipes and any(steps[0] in _OF_NO_RECIPE for steps in tasks):
        return Scope((), False)
    if of_recipes and all(len(steps) > 1 for steps in of_recipes):
        names = tuple(dict.fromkeys(steps[1] for steps in of_recipes))
        return Scope(names, True, model_alone)
    return Scope(None, not set(words) & set(_BUILD_NOTHING), model_alone)


def _check_processes(words: Sequence[str]) -> None:
    for word, following in itertools.pairwise((*words, "")):
        option = _PROCESSES.fullmatch(word)
        count = (option[1] or following) if option else ""
        if _NEGATIVE.fullmatch(count):
            expected = "expected 0 or the number of processes that build in parallel"
            raise RecipeError.at(f"-n {count}", "not a number of processes", expected)


_PROCESSES = re.compile(r"(?:-n|--process)=?(.*)")
_NEGATIVE = re.compile(r"-\d+")


_COMMANDS_OF: Mapping[str, tuple[str, ...]] = {
    **{
        variable: tuple(each.name for each in COMMANDS if variable in each.variables)
        for command in COMMANDS
        for variable in command.variables
    },
    "recipe": (),
}
"""The commands that take each variable; empty: all."""


def check_variables(variables: Mapping[str, str]) -> None:
    """Raise RecipeError for unknown variables, or for one that none of the commands takes."""
    here = [name for name, takers in _COMMANDS_OF.items() if not takers or commands() & set(takers)]
    RecipeError.refuse(
        problem(
            f"{name}={value}",
            f"unknown variable '{name}'",
            one_of(here),
            suggestion(name, _COMMANDS_OF),
        )
        for name, value in variables.items()
        if name not in _COMMANDS_OF
    )
    for name, value in variables.items():
        takers = _COMMANDS_OF[name]
        if takers and not commands().intersection(takers):
            what = "not a variable of this command"
            if name == "artifact":
                what = "a build always makes all artifacts of a recipe"
            expected = " or ".join(f"`doit {taker}`" for taker in takers)
            raise RecipeError.at(f"{name}={value}", what, f"expected this variable with {expected}")
