"""The tasks that use a shared store: `doit push` and `doit pull`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from partition_core.base.errors import BuildError, PartitionError, Problem
from partition_core.build.run import RecipeBuild
from partition_core.cli.actions import attempt, say_all


def transfer_task(
    way: str, builds: Callable[[], Sequence[RecipeBuild]], artifacts: str | None
) -> dict[str, Any]:
    """Return the task that moves results of the builds; `way` is "push" or "pull".

    `artifacts` are names separated by commas; None: all of them.
    """
    return {"actions": [(_transfer, [way, builds, artifacts])], "verbosity": 2}


def _transfer(
    way: str, builds: Callable[[], Sequence[RecipeBuild]], artifacts: str | None
) -> object:
    # Imported here so that other commands do not pay for the network modules.
    from partition_core.build import sharing

    move = {"push": sharing.push, "pull": sharing.pull}[way]
    names = None if artifacts is None else [name.strip() for name in artifacts.split(",")]

    def lines() -> Iterator[str]:
        problems: list[Problem] = []
        for build in builds():
            try:
                yield from move(build.plan, names)
            except PartitionError as error:
                problems.extend(error.problems)
        if problems:
            raise BuildError(*problems)

    return attempt(lambda: say_all(lines()))
