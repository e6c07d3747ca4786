"""How a run ends before its time: interrupted, told to end, or with its parent killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

from partition_core.wording import warn

_PR_SET_PDEATHSIG = 1


class Terminated(SystemExit):
    """The run was asked to end."""


def end_orderly() -> None:
    """Let an interrupted run remove what it was working on, and say so in one line."""
    sys.excepthook = _tell_interruption
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def let_workers_die_with_us() -> None:
    """Let worker processes, as of `doit -n`, end when this one is killed, from now on."""
    if sys.platform == "linux":
        os.register_at_fork(before=_remember_parent, after_in_child=_die_with_parent)


_parent = 0


def _remember_parent() -> None:
    global _parent  # noqa: PLW0603  # reason: hooks of a fork share nothing else
    _parent = os.getpid()


def _die_with_parent() -> None:
    import ctypes  # of use only in a run with workers

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != _parent:  # it was killed before it could be watched
        os.kill(os.getpid(), signal.SIGKILL)


def _tell_interruption(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        warn("interrupted; what was finished is kept")
    else:
        sys.__excepthook__(kind, error, trace)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated(128 + signum)
