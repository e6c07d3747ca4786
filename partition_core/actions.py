"""Actions of tasks: what they raise, told as an error of doit without a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from doit.exceptions import TaskFailed

from partition_core.errors import PartitionError, problem


def attempt(act: Callable[[], None]) -> TaskFailed | None:
    """Do something; return the failure of the task if it raises PartitionError or OSError."""
    try:
        act()
    except PartitionError as error:
        return TaskFailed(str(error), report=True)
    except OSError as error:
        where = str(error.filename or "disk")
        return TaskFailed(str(problem(where, error.strerror or str(error))), report=True)
    return None


def say(message: str) -> None:
    """Tell the user something at once."""
    print(message, flush=True)


def say_all(messages: Iterable[str]) -> None:
    """Tell the user each of several things as soon as it is known."""
    for message in messages:
        say(message)
