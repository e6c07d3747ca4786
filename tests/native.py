"""Native code that a build runs in forks, run in the process of the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from partition_core.base import child_process


def _run_here(
    act: Callable[[], bytes], seconds: int | None = None, most_bytes: int | None = None
) -> bytes:
    try:
        return act()
    except Exception as error:
        raise RaisedError(" ".join(str(error).split()) or type(error).__name__) from None  # type: ignore[name-defined]  # noqa: F821  # reason: it runs among the names of `child_process`


@contextlib.contextmanager
def native_code_in_this_process() -> Iterator[None]:
    """Let `run_in_child` run what it is given here; native code that dies ends this process."""
    with pytest.MonkeyPatch.context() as patch:
        # Its callers have it by name, wherever they are.
        patch.setattr(child_process.run_in_child, "__code__", _run_here.__code__)
        yield
