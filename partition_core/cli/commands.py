"""The commands: a row for each, and a function `task_<name>` in the module that the row names.

A new command is a module, or a function in one, and a row; a step has its row in `build.steps`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from partition_core.build.steps import STEPS


class Command(NamedTuple):
    """A command: its module in `cli`, the variables that it takes besides `recipe=`, and whether it
    is about recipes.

    One that has `recipe` among its variables selects none by it: it names the recipe to write. One
    `of_models` needs of a recipe what describes its model, and not where that is cut.
    """

    name: str
    module: str
    variables: tuple[str, ...] = ()
    of_recipes: bool = True
    of_models: bool = False


COMMANDS = (
    Command("build", "build_tasks"),
    *(Command(row.kind, "build_tasks") for row in STEPS),
    Command(
        "suggest",
        "suggest_tasks",
        ("parts", "max_bytes", "max_memory", "unsupported", "operators", "cut", "measure"),
        of_models=True,
    ),
    Command("tensors", "suggest_tasks", ("match", "out"), of_models=True),
    Command("calibrate", "run_tasks", ("images", "from", "out")),
    Command("merge", "run_tasks", ("with", "out", "tolerance")),
    Command("diagnose", "run_tasks", ("target", "segment", "with", "against", "out", "tolerance")),
    Command("detect", "run_tasks", ("image", "out", "score", "use")),
    Command("push", "share_tasks", ("artifact",)),
    Command("pull", "share_tasks", ("artifact",)),
    Command("store", "store_tasks", of_recipes=False),
    Command("verify", "store_tasks", of_recipes=False),
    Command("prune", "store_tasks", of_recipes=False),
    Command("origin", "store_tasks", of_recipes=False),
    Command(
        "import_mmdeploy", "import_tasks", ("recipe", "deploy_cfg", "model_cfg"), of_recipes=False
    ),
)


def task_creators() -> Mapping[str, Callable[..., object]]:
    """Return the functions that create tasks, in the sense of doit, by their names."""
    return {
        name: getattr(importlib.import_module(f"{__package__}.{command.module}"), name)
        for command in COMMANDS
        for name in (f"task_{command.name}",)
    }
