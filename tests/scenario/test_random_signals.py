"""Builds that are told to end at random instants: soon, in one way, with nothing half done.

`PARTITION_CORE_SIGNALS` asks for more than a thorough run does.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.onnx_source.projects import LINE, TWO, Project

from .leftovers import entries, finished, remains

SIGNALS = int(os.environ.get("PARTITION_CORE_SIGNALS", "40"))
WORKERS = 4
SOON = 10.0  # seconds, on a machine that does other things too; two where it is idle
TOLD = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
COMMANDS = (
    *(("build",), ("build",), ("-n", "2", "build"), ("-n", "2", "build")),
    *(("suggest", "recipe=one"), ("list", "--all"), ("build", "--dry-run")),
)


def takes_signals(process: int) -> bool:
    """Return whether a process answers SIGTERM itself, as doit does once it reads `dodo.py`."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


class Sender:
    """Starts builds in a project of its own and sends each a signal."""

    def __init__(self, folder: Path, number: int) -> None:
        self.chance = random.Random(number)
        self.project = Project(folder / f"{number}" / "project", folder / f"{number}" / "store")
        # Every other one starts builds as a user does, whom a signal reaches while Python imports.
        self.project.is_forked = number % 2 == 0
        self.project.recipe(LINE, "one")
        self.project.recipe(TWO, "two")
        start = time.monotonic()
        self.project.built()
        self.lasts = time.monotonic() - start
        self.expected = {name: self.project.artifacts(name) for name in ("one", "two")}
        self.ways: Counter[str] = Counter()
        self.longest = 0.0
        self.wrong: list[str] = []

    def run(self, signals: int) -> None:
        while self.ways.total() - self.ways["too late"] < signals and not self.wrong:
            try:
                self._send()
            except AssertionError as error:
                self.wrong.append(str(error))

    def _send(self) -> None:
        if self.chance.random() < 0.7:
            shutil.rmtree(self.project.store, ignore_errors=True)
        shutil.rmtree(self.project.folder / "build", ignore_errors=True)
        command, how = self.chance.choice(COMMANDS), self.chance.choice(list(TOLD))
        send = self.chance.choice((os.kill, os.killpg))
        process = self.project.start(*command)
        while not takes_signals(process.pid):
            time.sleep(0.001)
        time.sleep(self.chance.uniform(0, self.lasts))
        if process.poll() is None:
            send(process.pid, how)
        start = time.monotonic()
        output = process.communicate(timeout=60)[0]
        self._check(f"{command} {how!r}", process.returncode, how, output)
        seconds = time.monotonic() - start
        assert seconds < SOON, f"{command}: {seconds} s after {how!r}: {output}"
        self.longest = max(self.longest, seconds)

    def _check(self, what: str, code: int, how: signal.Signals, output: str) -> None:
        told = f"{what}: {code}: {output}"
        warnings = [line for line in output.splitlines() if line.startswith("WARNING")]
        for bad in ("Traceback", "Exception ignored", "ERROR", "failed", "KeyboardInterrupt"):
            assert bad not in output, told
        if code == 128 + how:
            assert warnings == [f"WARNING: {TOLD[how]}; finished work is kept"], told
            self.ways[how.name] += 1
        else:
            # It was over when the signal came, or Python was closing down.
            assert code in (0, -how), told
            assert not warnings, told
            self.ways["too late"] += 1
        assert remains(self.project.folder, self.project.store) == [], told
        for recipe, artifacts in self.expected.items():
            for name, content in artifacts.items():
                path = self.project.folder / "build" / recipe / name
                assert not path.exists() or path.read_bytes() == content, told
        if entries(self.project.store):
            finished(self.project.store)  # whole entries, with all their files


@pytest.mark.parametrize(
    "number", [4, pytest.param(SIGNALS, marks=pytest.mark.thorough)], ids=["few", "many"]
)
def test_a_signal_at_any_instant_ends_a_build_in_one_way(tmp_path: Path, number: int) -> None:
    workers = min(WORKERS, number // 2)
    senders = [Sender(tmp_path, worker) for worker in range(workers)]
    threads = [threading.Thread(target=one.run, args=(number // workers,)) for one in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [wrong for one in senders for wrong in one.wrong] == []
    ways = sum((one.ways for one in senders), Counter())
    assert ways["SIGINT"] + ways["SIGTERM"] >= number
    for one in senders:
        one.project.built()
        assert {name: one.project.artifacts(name) for name in one.expected} == one.expected
    print(f"{dict(ways)}; the longest took {max(one.longest for one in senders):.2f} s")
