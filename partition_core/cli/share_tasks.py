"""The tasks that speak to a shared store: `doit push` and `doit pull`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from partition_core.base.errors import BuildError, PartitionError, Problem
from partition_core.build.run import RecipeBuild
from partition_core.cli.actions import attempt, say_all


def transfer_task(
    way: str, builds: Callable[[], Sequence[RecipeBuild]], artifacts: str | None
) -> dict[str, Any]:
    """Return the task that moves results of the builds one `way`, "push" or "pull".

    `artifacts` are names between commas; None: all of them.
    """
    return {"actions": [(_transfer, [way, builds, artifacts])], "verbosity": 2}


def _transfer(
    way: str, builds: Callable[[], Sequence[RecipeBuild]], artifacts: str | None
) -> object:
    # What moves bytes over a network is imported only by who asks for it.
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
