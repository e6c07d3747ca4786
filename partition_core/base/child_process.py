"""Runs native code in a child process, since a damaged file may crash it or fill the memory.

C++ code aborts on unexpected input, which would end everything else that is being built.
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
    """The child process raised an exception, with this text."""


class DiedError(Exception):
    """The child process was killed; the text names the signal."""


def run_in_child(
    act: Callable[[], bytes], seconds: int | None = None, most_bytes: int | None = None
) -> bytes:
    """Return the result of `act` in a fork of this process, whose output is discarded.

    It is limited to the free memory, to `most_bytes` and to `seconds` of CPU time, if these are
    given. Raises RaisedError and DiedError. An interruption ends it too.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(act, seconds, most_bytes, writer)
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


def _answer(
    act: Callable[[], bytes], seconds: int | None, most_bytes: int | None, writer: int
) -> None:
    """Write the result of `act` to a pipe, and end this process in any case."""
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
            with limited_memory(most_bytes):
                answer = _GAVE + act()
        except Exception as error:  # raised again in the parent
            text = " ".join(str(error).split()) or type(error).__name__
            answer = _RAISED + text.encode("utf-8", "replace")
        for start in range(0, len(answer), _CHUNK):
            part = memoryview(answer)[start : start + _CHUNK]
            while part:
                part = part[os.write(writer, part) :]
    finally:
        os._exit(0)


@contextlib.contextmanager
def limited_memory(most_bytes: int | None = None) -> Iterator[None]:
    """Limit this process to the free memory, and to `most_bytes`: larger allocations fail.

    Otherwise the system might kill this process, or another one.
    """
    limits = [size for size in (free_memory(), most_bytes) if size is not None]
    free = min(limits, default=None)
    if free is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = min([_own_size() + free, *(n for n in before if n != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def free_memory() -> int | None:
    """Return the bytes of memory available without killing a process; None if unknown."""
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
