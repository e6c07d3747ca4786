"""The tasks that use a shared store: `doit push` and `doit pull`."""

from __future__ import annotations

from collections.abc import Iterator

from doit import doit_cmd

from partition_core.base.errors import BuildError, PartitionError, Problem
from partition_core.cli.actions import attempt, say_all
from partition_core.cli.builds import Task, selected_builds


def task_push() -> Task:
    """Upload results to the shared store: all of a recipe, or those of `artifact=…`."""
    return {"actions": [(_transfer, ["push"])], "verbosity": 2}


def task_pull() -> Task:
    """Download artifacts from the shared store: all of a recipe, or those of `artifact=…`."""
    return {"actions": [(_transfer, ["pull"])], "verbosity": 2}


def _transfer(way: str) -> object:
    # Imported here so that other commands do not pay for the network modules.
    from partition_core.build import sharing

    move = {"push": sharing.push, "pull": sharing.pull}[way]
    artifacts = doit_cmd.get_var("artifact")
    names = None if artifacts is None else [name.strip() for name in artifacts.split(",")]

    def lines() -> Iterator[str]:
        problems: list[Problem] = []
        for build in selected_builds():
            try:
                yield from move(build.plan, names)
            except PartitionError as error:
                problems.extend(error.problems)
        BuildError.refuse(problems)

    return attempt(lambda: say_all(lines()))
