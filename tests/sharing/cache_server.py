"""A cache on loopback that speaks the protocol of Bazel's remote caches, and fails on demand."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[["Answer", bytes], None]
"""Answers a GET of something that is there, whose bytes it gets, in a way of its own."""


class CacheServer(ThreadingHTTPServer):
    """Keeps what is PUT and gives it to who GETs it; `seen` is what was asked, in order.

    `fault` answers the GETs of names that start with `where` in place of the server.
    `credentials` is the `Authorization` header that every request must have, `logins` are those
    that came. `moves` is where it sends what is asked, but below `elsewhere`, for GET and HEAD.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = dict(files or {})
        self.seen: list[str] = []
        self.fault: Fault | None = None
        self.where = ""
        self.credentials = ""
        self.moves = ""
        self.logins: list[str | None] = []
        self.scheme = "http"
        self.is_over = threading.Event()

    @property
    def url(self) -> str:
        """The place of the store, in a folder of the server."""
        return f"{self.scheme}://127.0.0.1:{self.server_port}/team"

    def moved(self, method: str, below: str = "cas") -> set[str]:
        """Return the names below `cas` or `ac` that were asked for by a method."""
        start = f"{method} {below}/"
        return {one.removeprefix(start) for one in self.seen if one.startswith(start)}

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "https"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class Answer(BaseHTTPRequestHandler):
    """One request; faults write to it what they like."""

    server: CacheServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        content = self._asked()
        if content is None:
            return
        if self.server.fault is not None and self._name().startswith(self.server.where):
            self.close_connection = True
            self.server.fault(self, content)
            return
        self.answer(200, content)

    def do_HEAD(self) -> None:
        content = self._asked()
        if content is not None:
            self.answer(200, b"", {"Content-Length": str(len(content))})

    def do_PUT(self) -> None:
        self.server.seen.append(f"PUT {self._name()}")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self._is_refused():
            return
        self.server.files[self._name()] = content
        self.answer(201)

    def answer(
        self, status: int, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _asked(self) -> bytes | None:
        self.server.seen.append(f"{self.command} {self._name()}")
        self.server.logins.append(self.headers.get("Authorization"))
        if self._is_refused() or self._is_moved():
            return None
        content = self.server.files.get(self._name())
        if content is None:
            self.answer(404)
        return content

    def _is_refused(self) -> bool:
        wanted = self.server.credentials
        if wanted in ("", self.headers.get("Authorization")):
            return False
        self.answer(401, headers={"WWW-Authenticate": "Basic"})
        return True

    def _is_moved(self) -> bool:
        if not self.server.moves or "/elsewhere/" in self.path:
            return False
        self.answer(307, headers={"Location": self.server.moves.replace("%", self._name())})
        return True

    def _name(self) -> str:
        return self.path.removeprefix("/team/").removeprefix("elsewhere/")


@contextlib.contextmanager
def serving(server: CacheServer) -> Iterator[CacheServer]:
    """Serve in a thread until the block ends."""
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield server
    finally:
        server.is_over.set()
        server.shutdown()
        server.server_close()


def status(code: int) -> Fault:
    """Answer with a status and a page."""
    return lambda answer, _: answer.answer(code, b"<html>trouble</html>")


def instead(body: bytes) -> Fault:
    """Answer with other bytes."""
    return lambda answer, _: answer.answer(200, body)


def silent(answer: Answer, content: bytes) -> None:
    """Never answer."""
    answer.server.is_over.wait(60)


def dripping(answer: Answer, content: bytes) -> None:
    """Send a byte now and then."""
    _head(answer, len(content))
    _drip(answer, content)


def dripping_status(answer: Answer, content: bytes) -> None:
    """Send a first line that goes on and on, a byte now and then."""
    _drip(answer, b"HTTP/1.1 200 " + b"O" * 10_000)


def dripping_heads(answer: Answer, content: bytes) -> None:
    """Send one header after the other, and never the last."""
    answer.send_response(200)
    answer.flush_headers()
    for number in range(90):
        answer.wfile.write(f"X-Header-{number}: {number}\r\n".encode())
        if answer.server.is_over.wait(0.1):
            return


def dripping_chunks(answer: Answer, content: bytes) -> None:
    """Send a body in chunks, of which the first never says how long it is."""
    answer.send_response(200)
    answer.send_header("Transfer-Encoding", "chunked")
    answer.end_headers()
    _drip(answer, b"5;" + b"x" * 10_000)


def _drip(answer: Answer, content: bytes) -> None:
    for byte in content:
        answer.wfile.write(bytes([byte]))
        answer.wfile.flush()
        if answer.server.is_over.wait(0.05):
            return


def cut_short(answer: Answer, content: bytes) -> None:
    """Promise all bytes, send half of them and hang up."""
    _head(answer, len(content))
    answer.wfile.write(content[: len(content) // 2])


def with_a_flipped_bit(answer: Answer, content: bytes) -> None:
    """Send bytes of which one is another."""
    middle = len(content) // 2
    answer.answer(200, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


def promising_too_few(answer: Answer, content: bytes) -> None:
    """Tell a length that is too short."""
    _head(answer, len(content) - 10)
    answer.wfile.write(content)


def promising_too_many(answer: Answer, content: bytes) -> None:
    """Tell a length that is too long, and keep the connection."""
    _head(answer, len(content) + 10)
    answer.wfile.write(content)
    answer.server.is_over.wait(60)


def endless(answer: Answer, content: bytes) -> None:
    """Send bytes for as long as they are taken."""
    answer.send_response(200)
    answer.end_headers()
    with contextlib.suppress(OSError):
        while not answer.server.is_over.is_set():
            answer.wfile.write(bytes(1 << 20))


def reset(answer: Answer, content: bytes) -> None:
    """Break the connection before there is an answer."""
    _break(answer)


def reset_half_way(answer: Answer, content: bytes) -> None:
    """Break the connection while the bytes are sent."""
    _head(answer, len(content))
    answer.wfile.write(content[: len(content) // 2])
    _break(answer)


def garbage(answer: Answer, content: bytes) -> None:
    """Answer in no protocol at all."""
    answer.wfile.write(b"\x00\xffwhat?\r\n\r\n" * 10)


def redirecting(location: str) -> Fault:
    """Send the client elsewhere; `%` in the location stands for the name that was asked."""

    def redirected(answer: Answer, content: bytes) -> None:
        name = answer.path.removeprefix("/team/")
        if name.startswith("elsewhere/") and "elsewhere" in location:
            answer.answer(200, content)
        else:
            answer.answer(302, headers={"Location": location.replace("%", name)})

    return redirected


def _head(answer: Answer, length: int) -> None:
    answer.send_response(200)
    answer.send_header("Content-Length", str(length))
    answer.end_headers()


def _break(answer: Answer) -> None:
    linger = struct.pack("ii", 1, 0)
    answer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    answer.wfile.flush()
    answer.connection.shutdown(socket.SHUT_RD)
    answer.connection.close()
    answer.rfile.close()
