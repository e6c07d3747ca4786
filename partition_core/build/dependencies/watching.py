"""Sees what Python does while something runs: what it opens, lists, asks, imports and starts.

An audit hook of Python cannot be removed. So one is put in, once, and does nothing as long as
nothing is watched; it and what the process remembers of modules live here and nowhere else.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from partition_core.build.dependencies.events import EVENTS
from partition_core.build.dependencies.notes import Memory, Watch
from partition_core.build.dependencies.replaced import replace_all


class _Process:
    """The state that an audit hook leaves no other place for."""

    def __init__(self) -> None:
        self.memory: Memory | None = None
        self.watched: Watch | None = None
        self._thread = threading.local()

    def watch(self) -> Watch | None:
        """Return what notes are taken in; None if nothing is watched, or by ourselves."""
        return None if getattr(self._thread, "is_ours", False) else self.watched

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """Let nothing be noted of what this thread does."""
        self._thread.is_ours = True
        try:
            yield
        finally:
            self._thread.is_ours = False


_process = _Process()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _process.watched is None:
        return
    see = EVENTS.get(event)
    watch = _process.watch() if see is not None else None
    if see is None or watch is None:
        return
    frame = sys._getframe(1)
    # What is wrong with an argument is for the function that gets it to say.
    with _process.ours(), contextlib.suppress(OSError, TypeError, ValueError):
        see(watch, frame, *arguments)


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Yield what is seen until the end; one thing at a time is watched."""
    if _process.memory is None:
        _process.memory = Memory(before=frozenset(sys.modules))
        sys.addaudithook(_hook)
    watch = Watch(_process.memory)
    with contextlib.ExitStack() as changed:
        replace_all(_process, changed)
        _process.watched = watch
        try:
            yield watch
        finally:
            _process.watched = None
