"""Runs Python modules in forks of two processes, `forked_python.py`, one of which has torch.

To import it takes most of the time of a small build: 5 s of 6.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ADDRESS = "PARTITION_CORE_TESTS_FORKS"
"""The variable that tells all processes of a run of the tests where those two are."""
KINDS = ("onnx", "torch")


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Have those while this process tests; they import nothing before they are asked to run."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        for kind in KINDS:
            ending.callback(_serving(kind, os.path.join(folder, kind)).communicate)
        os.environ[ADDRESS] = folder
        ending.callback(os.environ.pop, ADDRESS)
        yield


def _serving(kind: str, address: str) -> subprocess.Popen[bytes]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(address)
        listening.listen()
        script = Path(__file__).with_name("forked_python.py")
        return subprocess.Popen(
            [sys.executable, script, str(listening.fileno()), kind],
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )


def has_forks() -> bool:
    """Return whether those processes are there; they are not outside of pytest."""
    return ADDRESS in os.environ


def run_forked(
    kind: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Return how a module ended with these arguments, as `python -m` would, and all it wrote."""
    with tempfile.TemporaryFile("w+") as output:
        asking, _ = _asked(kind, command, folder, environment, output.fileno(), leads=False)
        with asking:
            asking.settimeout(600)
            status = int(asking.recv(16))
        output.seek(0)
        return subprocess.CompletedProcess(command, status, output.read())


class Forked:
    """A module that runs in a fork which leads a process group, as `subprocess.Popen` has it."""

    def __init__(
        self, kind: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        reading, writing = os.pipe()
        try:
            self._asking, self.pid = _asked(kind, command, folder, environment, writing, leads=True)
        finally:
            os.close(writing)
        self.args = command
        self.stdout = open(reading)  # noqa: SIM115  # reason: closed by `communicate` or `with`
        self.returncode: int | None = None

    def __enter__(self) -> Forked:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until it has ended."""
        self.stdout.close()
        self.wait()

    def poll(self) -> int | None:
        """Return its status if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return its status when it has ended."""
        if self.returncode is None:
            if not select.select([self._asking], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            with self._asking:
                self.returncode = int(self._asking.recv(16))
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Return the rest of what it writes, when nothing holds its output any more."""
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(self.stdout.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.stdout.close()
        self.wait(timeout)
        return said[0], None


def _asked(
    kind: str,
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: int,
    *,
    leads: bool,
) -> tuple[socket.socket, int]:
    """Ask for a fork, and return where its status comes, and its process."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.connect(os.path.join(os.environ[ADDRESS], kind))
    asked = {
        "command": command,
        "folder": str(folder),
        "environment": dict(environment),
        "leads": leads,
    }
    socket.send_fds(server, [json.dumps(asked).encode()], [output])
    server.settimeout(600)
    process = int(server.recv(16))
    return server, process
