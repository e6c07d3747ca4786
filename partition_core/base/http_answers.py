"""HTTP connections with timeouts, so that a silent or slow server cannot stall a build."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from typing import Any, cast

CONNECT_TIMEOUT = 5.0
"""Seconds to establish a connection."""

SLOWEST = 1000
"""The lowest rate of a body, in bytes per second, once it has taken longer than the timeout."""

CHUNK = 1 << 20


class SlowError(TimeoutError):
    """A response that is too slow: the text says how many bytes came in which time."""

    def __init__(self, received: str) -> None:
        super().__init__(f"it sends {received}, less than {SLOWEST} bytes a second")


class _Timed(io.RawIOBase):
    """A connection's stream with a timeout for all reads of one call, not for each."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, seconds: float) -> None:
        self._raw = raw
        self._connection = connection
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Restart the timeout."""
        self._end = time.monotonic() + self._seconds
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._end - time.monotonic()
        try:
            if remaining <= 0:
                raise TimeoutError("timed out")
            self._connection.settimeout(remaining)
            count = self._raw.readinto(buffer)
        except TimeoutError as error:
            if not self._count:
                raise
            raise SlowError(f"{self._count} bytes in {self._seconds:g} s") from error
        self._count += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class Answer(http.client.HTTPResponse):
    """A response whose head must arrive within the timeout, and so must each chunk of its body."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.seconds = sock.gettimeout() or CONNECT_TIMEOUT
        self._timed = _Timed(self.fp.detach(), sock, self.seconds)
        self.fp = io.BufferedReader(self._timed)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body; raises SlowError if it is too slow, and the errors of the library."""
        start, count = time.monotonic(), 0
        while True:
            self._timed.renew()
            chunk = self.read1(CHUNK)
            if not chunk:
                return
            yield chunk
            count += len(chunk)
            elapsed = time.monotonic() - start
            if elapsed > self.seconds and count < elapsed * SLOWEST:
                raise SlowError(f"{count} bytes in {elapsed:.0f} s")


class _Connection(http.client.HTTPConnection):
    """A connection with a short timeout to connect and a longer one to read."""

    response_class = Answer

    def connect(self) -> None:
        timeout = self.timeout or CONNECT_TIMEOUT
        self.timeout = min(timeout, CONNECT_TIMEOUT)
        self.blocksize = CHUNK
        super().connect()
        self.sock.settimeout(timeout)


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    """The same with TLS."""


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


def opener_with(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Return an opener of HTTP URLs with such connections and additional handlers."""
    return urllib.request.build_opener(_Http, _Https, *handlers)


def answer_of(
    opener: urllib.request.OpenerDirector, request: urllib.request.Request, timeout: float
) -> Answer:
    """Return the response to a request; `timeout` is in seconds without a byte from the server."""
    return cast(Answer, opener.open(request, timeout=timeout))
