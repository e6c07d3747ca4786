"""Runs Python modules in forks of one process, `forked_python.py`, which has imported torch.

To import it takes most of the time of a small build: 5 s of 6.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ADDRESS = "PARTITION_CORE_TESTS_FORKS"
"""The variable that tells all processes of a run of the tests where that process is."""


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Have that process while this one tests; it imports nothing before it is asked to run."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening,
    ):
        address = os.path.join(folder, "socket")
        listening.bind(address)
        listening.listen()
        server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forked_python.py"), str(listening.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        os.environ[ADDRESS] = address
        try:
            yield
        finally:
            del os.environ[ADDRESS]
            server.communicate()


def has_forks() -> bool:
    """Return whether that process is there; it is not outside of pytest."""
    return ADDRESS in os.environ


def run_forked(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Return how a module ended with these arguments, as `python -m` would, and all it wrote."""
    with (
        tempfile.TemporaryFile("w+") as output,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server,
    ):
        server.settimeout(600)
        server.connect(os.environ[ADDRESS])
        asked = {"command": command, "folder": str(folder), "environment": dict(environment)}
        socket.send_fds(server, [json.dumps(asked).encode()], [output.fileno()])
        status = int(server.recv(16))
        output.seek(0)
        return subprocess.CompletedProcess(command, status, output.read())
