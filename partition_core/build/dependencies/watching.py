"""Watches what code opens, lists, probes, imports and starts.

Python cannot remove an audit hook, so one is added, once, and does nothing unless code is watched;
the hook and what the process remembers of modules live only here.
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
    """The global state that an audit hook needs."""

    def __init__(self) -> None:
        self.memory: Memory | None = None
        self.watched: Watch | None = None
        self._thread = threading.local()

    def watch(self) -> Watch | None:
        """Return the current watch; None if nothing is watched, or inside `ours`."""
        return None if getattr(self._thread, "is_ours", False) else self.watched

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """Suspend notes for this thread."""
        self._thread.is_ours = True
        try:
            yield
        finally:
            self._thread.is_ours = False


_process = _Process()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _process.watched is None:
        return
    handle = EVENTS.get(event)
    watch = _process.watch() if handle is not None else None
    if handle is None or watch is None:
        return
    frame = sys._getframe(1)
    # The function itself reports an invalid argument.
    with _process.ours(), contextlib.suppress(OSError, TypeError, ValueError):
        handle(watch, frame, *arguments)


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Yield what is recorded inside the `with` block; blocks must not overlap."""
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
