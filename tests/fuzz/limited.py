"""Runs many cases one after the other in another process, which has limits and may die."""

from __future__ import annotations

import multiprocessing
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Case = Callable[[Any], object]
"""Reads what one seed makes of outside bytes; whatever it raises is a fault of the reader."""


@dataclass(frozen=True)
class Limits:
    """Seconds of a processor for a case, and bytes by which it may make the process grow.

    `room` is what the process can have, at most.
    """

    seconds: float
    memory: int
    room: int


READING = Limits(2.0, 500 << 20, 1500 << 20)
BUILDING = Limits(100.0, 900 << 20, 800 << 20)
"""A file that is right may say that its model computes much: what stops that is a small machine."""

_SILENCE = 120.0
"""Seconds after which a case hangs: many times what it may take, on a machine with other work."""
_START = 300.0
"""Seconds that the start of the process may take, which is none of a case's."""
_TOLD = 1500


def faults(case: Case, seeds: list[Any], limits: Limits = READING) -> list[str]:
    """Return what is wrong with the cases of `seeds`: raised, slow, large, hanging or crashing."""
    found: list[str] = []
    left = list(seeds)
    while left:
        for seed, wrong in _run(case, left, limits):
            left = left[left.index(seed) + 1 :]
            if wrong:
                found.append(f"seed {seed}: {wrong}")
    return found


def _run(case: Case, seeds: list[Any], limits: Limits) -> Iterator[tuple[Any, str]]:
    """Yield each seed with its fault, or nothing, until the process had to be given up."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(case, seeds, limits, there), daemon=True)
    process.start()
    there.close()
    try:
        assert here.poll(_START), "the process does not start"
        here.recv()
        for seed in seeds:
            if not here.poll(_SILENCE):
                yield seed, f"hangs for more than {_SILENCE} s"
                return
            try:
                wrong, goes_on = here.recv()
            except EOFError:
                process.join()
                yield seed, f"the process ended with code {process.exitcode}"
                return
            yield seed, wrong
            if not goes_on:
                return
    finally:
        process.kill()
        process.join()
        here.close()


def _work(case: Case, seeds: list[Any], limits: Limits, answers: Connection) -> None:
    answers.send("ready")
    start = _peak()
    limit = _size() + limits.room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for seed in seeds:
        wrong, began = "", time.process_time()
        try:
            case(seed)
        except BaseException:  # also the end of Python: the case has to say what went wrong
            wrong = traceback.format_exc()[-_TOLD:]
        passed, grown = time.process_time() - began, _peak() - start
        if not wrong and passed > limits.seconds:
            wrong = f"took {passed:.1f} s"
        if not wrong and grown > limits.memory:
            wrong = f"took {grown >> 20} MB"
        answers.send((wrong, grown <= limits.memory))
        if grown > limits.memory:
            return


def _peak() -> int:
    """Return the bytes that this process, or one that it started, had at most."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in whose) << 10


def _size() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()
