"""A server of one file on loopback: it knows ranges, and cuts connections on demand."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Gives `content` under any name. `ranges` is what each request asked for, in order.

    `cuts` says after how many bytes to hang up, for the next requests; `knows_ranges` whether
    a range is heeded; `status` answers everything in place of the file. If it `drips`, a byte comes
    now and then.
    """

    daemon_threads = True

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content = content
        self.ranges: list[str | None] = []
        self.cuts: list[int] = []
        self.knows_ranges = True
        self.status = 200
        self.go_on = threading.Event()
        self.waits_after: int | None = None
        self.drips = False

    def url(self, name: str = "model.pth") -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class _Answer(BaseHTTPRequestHandler):
    server: FileServer

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if not server.knows_ranges:
            start = 0
        size = len(server.content)
        if start and start >= size:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        end = server.cuts.pop(0) if server.cuts else size
        if server.waits_after is not None:
            self.wfile.write(server.content[start : server.waits_after])
            self.wfile.flush()
            start = server.waits_after
            server.go_on.wait(60)
        for byte in server.content[start:end] if server.drips else ():
            self.wfile.write(bytes([byte]))
            if server.go_on.wait(0.05):
                return
        if not server.drips:
            self.wfile.write(server.content[start:end])


@contextlib.contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    """Serve in a thread until the block ends."""
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
