"""Watches what code opens, lists, probes, imports and starts.

Python cannot remove an audit hook, so one is added, once, and does nothing unless code is watched;
the hook and what the process remembers of modules live only here.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from partition_core.build.dependencies.events import EVENTS
from partition_core.build.dependencies.notes import Memory, Watch
from partition_core.build.dependencies.replaced import Gate, replace_all

_process = Gate()


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
