"""Who waits for another process says so after a moment, and for whom."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from partition_core.store import waiting
from partition_core.store.entry import Origin, Result
from partition_core.store.local import LocalStore

KEY = "a" * 64
HOLDING = """
import sys
from pathlib import Path
from partition_core.store.local import LocalStore

store = LocalStore(Path(sys.argv[1]), print)
held = {"key": lambda: store.locked(sys.argv[2]), "alone": store.exclusive}.get(sys.argv[3])
if held is None:
    store.entry(sys.argv[2])
    print("held", flush=True)
    sys.stdin.read()
else:
    with held():
        print("held", flush=True)
        sys.stdin.read()
"""


@contextlib.contextmanager
def _looked_up(store: LocalStore) -> Iterator[None]:
    store.entry(KEY)
    yield


WAITING: dict[tuple[str, str], Callable[[LocalStore], AbstractContextManager[object]]] = {
    ("key", "which is working on the same result"): lambda store: store.locked(KEY),
    ("use", "which is using the store '{}'"): lambda store: store.exclusive(),
    ("alone", "which is using the store '{}'"): lambda store: store.exclusive(),
    ("alone", "which is removing results from the store '{}'"): _looked_up,
}


@pytest.mark.parametrize(("held", "told"), WAITING)
def test_after_a_moment_it_is_told_for_whom_a_process_waits(
    tmp_path: Path, held: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WARN_AFTER", 0.3)
    said: list[str] = []
    is_said = threading.Event()

    def warn(line: str) -> None:
        said.append(line)
        is_said.set()

    store = LocalStore(tmp_path, warn)
    store.put_entry(KEY, Result({}, {}, Origin("x", "export", 1.0)))
    is_in = threading.Event()

    def wait() -> None:
        with WAITING[held, told](store):
            is_in.set()

    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path), KEY, held],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert is_said.wait(30)
        assert not is_in.is_set()
        other.communicate("")
    assert is_in.wait(30)
    thread.join()
    (line,) = said
    assert line.startswith(f"waiting for process {other.pid} (`{sys.executable} -c ")
    assert line.endswith(f", {told.format(store.folder)}")


def test_who_need_not_wait_says_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    store = LocalStore(tmp_path, said.append)
    with store.locked(KEY), store.private_folder():
        pass
    with store.exclusive():
        assert store.entry(KEY) is None
    assert said == []


def test_a_holder_that_nobody_can_name_is_another_process(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    assert waiting._waiting(tmp_path / "lock", "which works") == (
        "waiting for another process, which works"
    )
    assert waiting._described(os.getpid()).startswith(f"process {os.getpid()} (`")
