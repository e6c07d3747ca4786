"""What cannot be followed is told: connections, programs and databases."""

from __future__ import annotations

import http.server
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from .user import User


@pytest.fixture
def url() -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"weights")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/weights.pt"
        server.shutdown()


def test_a_download_is_told_by_its_host(user: User, url: str) -> None:
    def load() -> None:
        with urllib.request.urlopen(url) as stream:  # noqa: S310  # reason: it is our own
            stream.read()

    found = user.follow(load)
    assert found.outside == ("a connection to '127.0.0.1'",)
    assert found.entries == ()


def connected() -> None:
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError, match="No such file"):
        one.connect("/nowhere")


def stored() -> None:
    sqlite3.connect(":memory:").close()
    sqlite3.connect("models.db").close()


DOINGS: dict[str, Callable[[], object]] = {
    "the program 'python": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "the program 'true'": lambda: os.system("true"),  # noqa: S605  # reason: what users write
    "the program 'sh'": lambda: subprocess.run("true", shell=True, check=True),  # noqa: S602
    "a child process": lambda: (os.fork() and os.wait()) or os._exit(0),
    "the database 'models.db'": stored,
    "a connection to '/nowhere'": connected,
}


@pytest.mark.parametrize(("told", "act"), DOINGS.items(), ids=DOINGS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork of a process with threads
def test_what_leaves_the_process_is_told(user: User, told: str, act: Callable[[], object]) -> None:
    (outside,) = user.follow(act).outside
    assert outside.startswith(told)


def test_what_a_library_starts_while_it_is_imported_is_its_own_affair(user: User) -> None:
    code = (
        "import subprocess, sys\nfrom pathlib import Path\n"
        "subprocess.run([sys.executable, '-c', ''])\nPath('x').read_text()\n"
    )
    user.write("project/x", "")
    site = "elsewhere/site-packages"
    user.write(
        f"{site}/noisy-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: noisy\nVersion: 1\n"
    )
    user.write(f"{site}/noisy-1.dist-info/RECORD", "noisy.py,,\n")
    user.write(f"{site}/noisy.py", code)
    user.write("project/own.py", code)
    sys.path.insert(0, str(user.root.parent / site))

    def run(name: str) -> Callable[[], object]:
        return lambda: __import__(name)

    found = user.follow(run("noisy"), "noisy")
    assert (found.outside, [label for label, _ in found.entries]) == ((), ["package noisy"])
    found = user.follow(run("own"))
    assert [one.startswith("the program 'python") for one in found.outside] == [True]
    assert [label for label, _ in found.entries] == ["module own", "file x"]
