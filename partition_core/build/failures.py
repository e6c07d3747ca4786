"""Targets that failed in the last build, and why: a file for each, until the target succeeds.

The failure of a target is no result: it must not stop what is built beside it, perhaps in another
process, and it is reported when the rest is published.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.disk import write_memory
from partition_core.base.errors import Place, Problem
from partition_core.base.outside_files import memory_in, memory_text

_FOLDER = "failed"


@dataclass(frozen=True)
class Failure:
    """The failure of a target: the step, the key that it had, and what was wrong."""

    step: str
    key: str
    problems: tuple[Problem, ...]


def failure_path(state: Path, recipe: str, target: str) -> Path:
    """Return the file in the folder `state` with the failure of a target of a recipe."""
    return state / _FOLDER / recipe / f"{target}.json"


def read_failure(path: Path) -> Failure | None:
    """Return the failure in a file; None if there is none, or none that can be read."""
    try:
        content = memory_in(path)
        problems = [Problem(**{**p, "place": Place(**p["place"])}) for p in content["problems"]]
        return Failure(str(content["step"]), str(content["key"]), tuple(problems))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record_failure(path: Path, step: str, key: str, problems: Sequence[Problem]) -> None:
    """Write a failure; without it, a failing disk costs the report at the end and a new try."""
    failure = Failure(step, key, tuple(problems))
    write_memory(path, memory_text(dataclasses.asdict(failure)))


def forget_failure(path: Path) -> None:
    """Remove the failure of a target that has succeeded."""
    path.unlink(missing_ok=True)
