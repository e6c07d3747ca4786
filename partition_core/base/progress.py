"""Progress bars at a terminal, for transferred bytes and for equal steps; imports nothing of the
package."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

Say = Callable[[str], None]
"""Takes a line for a user."""


def shown(what: str, size: int | None, start: int = 0) -> Any:
    """Return a bar of `size` bytes, of which `start` are done, silent without a terminal.

    It is a context manager; `update` adds a number of bytes.
    """
    return _bar(what, size, "B", initial=start, unit_scale=True)


def counted_steps(what: str, count: int, unit: str) -> Any:
    """Return a bar of `count` steps, silent without a terminal; `update` adds some."""
    return _bar(what, count, unit)


def _bar(what: str, total: int | None, unit: str, **options: Any) -> Any:
    from tqdm import tqdm

    # doit replaces `stderr` by a file that is not a terminal.
    where: Any = {"leave": False, "disable": None, "file": sys.__stderr__}
    return tqdm(desc=what, total=total, unit=unit, **where, **options)


@contextlib.contextmanager
def ticking(what: str) -> Iterator[bool]:
    """Show the elapsed seconds in a temporary line; yield whether it is shown.

    It is shown only at a terminal, in a process that does not share it.
    """
    streams = (sys.__stdout__, sys.__stderr__)
    at_terminal = all(stream is not None and stream.isatty() for stream in streams)
    if not at_terminal or multiprocessing.parent_process() is not None:
        yield False
        return
    from tqdm import tqdm

    done = threading.Event()
    with tqdm(
        desc=what, bar_format="{desc} … {elapsed_s:.0f} s", leave=False, file=sys.__stderr__
    ) as line:

        def tick() -> None:
            while not done.wait(1.0):
                line.refresh()

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield True
        finally:
            done.set()
            ticker.join()


@contextlib.contextmanager
def phase(what: str, say: Say) -> Iterator[None]:
    """Announce a long part of the work, and afterwards report how long it took."""
    start = time.monotonic()
    with ticking(what) as is_shown:
        if not is_shown:
            say(f"{what} …")
        yield
    say(f"{what}: {time.monotonic() - start:.1f} s")
