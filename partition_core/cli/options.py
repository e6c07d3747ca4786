"""The variables of doit's command line, `name=value`, and the commands that each is for."""

from __future__ import annotations

from collections.abc import Mapping

from partition_core.base.errors import RecipeError, one_of, problem, suggestion
from partition_core.cli.command_line import commands
from partition_core.cli.import_tasks import CONFIGS, IMPORT

WISHES = ("parts", "max_bytes", "max_memory", "unsupported", "cut", "measure")
"""The variables that tell `doit suggest` what is wished for."""

_TAKERS = {
    "recipe": (),
    "artifact": ("push", "pull"),
    **dict.fromkeys(WISHES, ("suggest",)),
    **dict.fromkeys(CONFIGS, (IMPORT,)),
    "image": ("detect",),
    "images": ("calibrate",),
    "from": ("calibrate",),
    "out": ("calibrate", "detect"),
    "score": ("detect",),
}
"""The variables, and the commands that each is for; none: for all."""


def check_variables(variables: Mapping[str, str]) -> None:
    """Raise a RecipeError for the variables that nobody knows, or that no command here takes."""
    unknown = [name for name in variables if name not in _TAKERS]
    here = [name for name, takers in _TAKERS.items() if not takers or commands() & set(takers)]
    if unknown:
        raise RecipeError(
            *(
                problem(
                    f"{name}={variables[name]}",
                    f"unknown variable '{name}'",
                    one_of(here),
                    suggestion(name, _TAKERS),
                )
                for name in unknown
            )
        )
    for name, value in variables.items():
        takers = _TAKERS[name]
        if takers and not commands().intersection(takers):
            what = "this command has no use for it"
            if name == "artifact":
                what = "a build makes all artifacts of a recipe"
            expected = " or ".join(f"`doit {taker}`" for taker in takers)
            raise RecipeError.at(f"{name}={value}", what, f"expected this variable with {expected}")
