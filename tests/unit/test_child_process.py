"""What runs apart gives its answer, its error, or the signal that ended it."""

from __future__ import annotations

import os
import signal

import pytest

from partition_core.base.child_process import DiedError, RaisedError, run_in_child
from tests.native import native_code_in_this_process


def fail() -> bytes:
    raise ValueError("no  luck\nat all")


def spin() -> bytes:
    while True:
        pass


def test_an_answer_of_any_length_comes_back() -> None:
    for length in (0, 1, 3 << 20):
        assert run_in_child(lambda: bytes(length)) == bytes(length)  # noqa: B023  # reason: it runs at once


def test_what_runs_apart_changes_nothing_here() -> None:
    seen: list[int] = []
    assert run_in_child(lambda: seen.append(os.getpid()) or b"done") == b"done"  # type: ignore[func-returns-value]
    assert seen == []


def test_an_error_is_one_line() -> None:
    with pytest.raises(RaisedError, match=r"^no luck at all$"):
        run_in_child(fail)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_dies_is_told_by_its_signal(how: signal.Signals) -> None:
    with pytest.raises(DiedError, match=f"^{how.name}$"):
        run_in_child(lambda: os.kill(os.getpid(), how) or b"")  # type: ignore[func-returns-value]


def test_a_limit_of_a_processor_s_time_ends_it() -> None:
    with pytest.raises(DiedError, match=r"SIGXCPU|SIGKILL"):
        run_in_child(spin, seconds=1)


def test_tests_of_many_cuts_get_the_same_without_a_process() -> None:
    here = os.getpid()
    with native_code_in_this_process():
        assert run_in_child(lambda: str(os.getpid()).encode()) == str(here).encode()
        with pytest.raises(RaisedError, match=r"^no luck at all$"):
            run_in_child(fail)
    assert run_in_child(lambda: str(os.getpid()).encode()) != str(here).encode()
