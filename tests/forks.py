"""Runs Python modules in forks of two processes, `forked_python.py`, one of which has torch.

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
    with (
        tempfile.TemporaryFile("w+") as output,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server,
    ):
        server.settimeout(600)
        server.connect(os.path.join(os.environ[ADDRESS], kind))
        asked = {"command": command, "folder": str(folder), "environment": dict(environment)}
        socket.send_fds(server, [json.dumps(asked).encode()], [output.fileno()])
        status = int(server.recv(16))
        output.seek(0)
        return subprocess.CompletedProcess(command, status, output.read())
