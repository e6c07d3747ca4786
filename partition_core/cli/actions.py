"""Actions of tasks: their exceptions become failures of doit without a traceback."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable

from doit.exceptions import TaskFailed

from partition_core.base.errors import PartitionError, Place, Problem, disk_problem, problem

DID_WORK = "made"
"""The task value that says whether the task did its work or found it already done."""

SECONDS = "seconds"
"""The task value that says how long the work took."""

_one_at_a_time = threading.Lock()  # torch cannot trace in two threads (`doit -P thread`)


def attempt(act: Callable[[], bool], file: str = "") -> dict[str, bool | float] | TaskFailed:
    """Call `act`; return its result as `DID_WORK`, and `SECONDS`, or the failure if it raises.

    `file` is added to problems that name no file, since several recipes may be built.
    """
    try:
        with _one_at_a_time:
            start = time.monotonic()
            did_work = act()
            return {DID_WORK: did_work, SECONDS: time.monotonic() - start}
    except PartitionError as error:
        return TaskFailed("\n".join(str(_in_file(problem, file)) for problem in error.problems))
    except OSError as error:
        return TaskFailed(str(disk_problem(error)))
    except MemoryError as error:
        what = f"out of memory: {error}".removesuffix(": ")
        return TaskFailed(str(problem(Place(file), what, "", "try smaller inputs")))
    except SystemExit as error:  # of the user's model
        return TaskFailed(
            str(problem(Place(file), f"the model exits Python with code {error.code}"))
        )


def say(message: str) -> None:
    """Print a message at once."""
    print(message, flush=True)


def say_all(messages: Iterable[str]) -> bool:
    """Print each message as soon as it is known; return True."""
    for message in messages:
        say(message)
    return True


def _in_file(issue: Problem, file: str) -> Problem:
    if issue.place.file:
        return issue
    return dataclasses.replace(issue, place=Place(file, 0, issue.place.path))
