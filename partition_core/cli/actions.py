"""Actions of tasks: what they raise, told as an error of doit without a traceback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from doit.exceptions import TaskFailed

from partition_core.base.errors import PartitionError, Place, Problem, disk_problem, problem

MADE = "made"
"""The value of a task that tells whether it did its work, or found it done by another run."""

SECONDS = "seconds"
"""The value of a task that tells how long its work took."""

_one_at_a_time = threading.Lock()  # torch cannot trace in two threads (`doit -P thread`)


def attempt(act: Callable[[], bool], file: str = "") -> dict[str, bool | float] | TaskFailed:
    """Do something; return as `MADE` what it returns, and `SECONDS`, or the failure if it raises.

    `file` is told as the place of problems that have none, since several recipes may be built.
    """
    try:
        with _one_at_a_time:
            start = time.monotonic()
            made = act()
            return {MADE: made, SECONDS: time.monotonic() - start}
    except PartitionError as error:
        return TaskFailed("\n".join(str(_placed(one, file)) for one in error.problems))
    except OSError as error:
        return TaskFailed(str(disk_problem(error)))
    except MemoryError as error:
        what = f"the memory of this machine is not enough: {error}".removesuffix(": ")
        return TaskFailed(str(problem(Place(file), what, "", "try smaller inputs")))
    except SystemExit as error:  # of the user's model
        return TaskFailed(
            str(problem(Place(file), f"the model ends Python, with code {error.code}"))
        )


def say(message: str) -> None:
    """Tell the user something at once."""
    print(message, flush=True)


def say_all(messages: Iterable[str]) -> bool:
    """Tell the user each of several things as soon as it is known; return True."""
    for message in messages:
        say(message)
    return True


def _placed(one: Problem, file: str) -> Problem:
    if one.place.file:
        return one
    return Problem(Place(file, 0, one.place.path), one.what, one.expected, one.remedy)
