"""Runs native code in a process of its own: a file that is damaged may end that, or fill memory.

C++ that meets what it does not expect aborts, and with it everything else that is being built.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

_GAVE, _RAISED = b"\0", b"\1"
_CHUNK = 1 << 20
_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup/memory.max")


class RaisedError(Exception):
    """What ran apart raised an error, with this text."""


class DiedError(Exception):
    """The process that ran apart was ended; the text names the signal."""


def run_in_child(
    act: Callable[[], bytes], seconds: int | None = None, room: int | None = None
) -> bytes:
    """Return what `act` gives in a fork of this process, which says nothing.

    It gets no more memory than the machine has free, nor than `room`, and `seconds` of a
    processor, if these are given. Raises RaisedError and DiedError. An interruption ends it too.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(act, seconds, room, writer)
    os.close(writer)
    status = None
    try:
        with os.fdopen(reader, "rb") as stream:
            answer = stream.read()
        status = os.waitpid(child, 0)[1]
    finally:
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise DiedError(signal.Signals(os.WTERMSIG(status)).name)
    if answer[:1] != _GAVE:
        raise RaisedError(answer[1:].decode("utf-8", "replace"))
    return answer[1:]


def _answer(act: Callable[[], bytes], seconds: int | None, room: int | None, writer: int) -> None:
    """Write to a pipe what `act` gives, and end this process, whatever happens."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if seconds is not None:
            most = seconds + int(sum(os.times()[:2]))
            resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
        try:
            with limited_memory(room):
                answer = _GAVE + act()
        except Exception as error:  # it is told where it was asked for
            text = " ".join(str(error).split()) or type(error).__name__
            answer = _RAISED + text.encode("utf-8", "replace")
        for start in range(0, len(answer), _CHUNK):
            part = memoryview(answer)[start : start + _CHUNK]
            while part:
                part = part[os.write(writer, part) :]
    finally:
        os._exit(0)


@contextlib.contextmanager
def limited_memory(room: int | None = None) -> Iterator[None]:
    """Let this process have no more memory than the machine has free: what asks for more fails.

    Nor more than `room`, if that is given.

    Otherwise the system would end this process, or another one.
    """
    known = [size for size in (free_memory(), room) if size is not None]
    free = min(known, default=None)
    if free is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = _own_size() + free
    if before[1] != resource.RLIM_INFINITY:
        most = min(most, before[1])
    if before[0] != resource.RLIM_INFINITY:
        most = min(most, before[0])
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def free_memory() -> int | None:
    """Return the bytes of memory that can be had without ending anyone; None if nobody tells."""
    try:
        lines = _MEMORY.read_text(encoding="ascii").splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        free = int(line.split()[1]) << 10
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError, ValueError):  # "max": the group has no limit
        used = int(_GROUP.with_name("memory.current").read_text(encoding="ascii"))
        free = min(free, max(0, int(_GROUP.read_text(encoding="ascii")) - used))
    return free


def _own_size() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()
