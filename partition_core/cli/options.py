"""The variables of doit's command line, `name=value`, and the commands that take them."""

from __future__ import annotations

from collections.abc import Mapping

from partition_core.base.errors import RecipeError, one_of, problem, suggestion
from partition_core.cli.command_line import commands
from partition_core.cli.commands import COMMANDS

_COMMANDS_OF: Mapping[str, tuple[str, ...]] = {
    "recipe": (),
    **{
        variable: tuple(each.name for each in COMMANDS if variable in each.variables)
        for command in COMMANDS
        for variable in command.variables
    },
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
