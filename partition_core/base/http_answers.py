"""Connections over HTTP whose server cannot hold a build: not by silence, nor by trickling."""

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
"""Seconds in which a connection must stand."""

SLOWEST = 1000
"""Bytes a second that a body must have, once it took as long as a server may be silent."""

CHUNK = 1 << 20


class SlowError(TimeoutError):
    """An answer that trickles in: the text tells how little came in which time."""

    def __init__(self, came: str) -> None:
        super().__init__(f"it sends {came}, and less than {SLOWEST} bytes a second")


class _Timed(io.RawIOBase):
    """The bytes of a connection, of which those of one call must be there in some seconds."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, seconds: float) -> None:
        self._raw = raw
        self._connection = connection
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Let what is read from now on take the whole time again."""
        self._end = time.monotonic() + self._seconds
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int | None:
        left = self._end - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError("timed out")
            self._connection.settimeout(left)
            count = self._raw.readinto(room)
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
    """An answer whose head must be here in the time that a server may be silent.

    So must all that one call reads of its body.
    """

    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        self.seconds = sock.gettimeout() or CONNECT_TIMEOUT
        self._timed = _Timed(self.fp.detach(), sock, self.seconds)
        self.fp = io.BufferedReader(self._timed)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body; raises SlowError for one that trickles, and what the library raises."""
        start, count = time.monotonic(), 0
        while True:
            self._timed.renew()
            chunk = self.read1(CHUNK)
            if not chunk:
                return
            yield chunk
            count += len(chunk)
            passed = time.monotonic() - start
            if passed > self.seconds and count < passed * SLOWEST:
                raise SlowError(f"{count} bytes in {passed:.0f} s")


class _Connection(http.client.HTTPConnection):
    """A connection that must stand soon, and may then be silent for longer."""

    response_class = Answer

    def connect(self) -> None:
        patience = _hasten(self)
        super().connect()
        self.sock.settimeout(patience)


class _SecureConnection(http.client.HTTPSConnection):
    """The same with TLS."""

    response_class = Answer

    def connect(self) -> None:
        patience = _hasten(self)
        super().connect()
        self.sock.settimeout(patience)


def _hasten(connection: http.client.HTTPConnection) -> float:
    patience = connection.timeout or CONNECT_TIMEOUT
    connection.timeout = min(patience, CONNECT_TIMEOUT)
    connection.blocksize = CHUNK
    return patience


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


def opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Return what opens HTTP URLs with such connections, and with some handlers more."""
    return urllib.request.build_opener(_Http, _Https, *handlers)


def answer_of(
    opener: urllib.request.OpenerDirector, request: urllib.request.Request, patience: float
) -> Answer:
    """Return the answer to a request; `patience` is how many seconds the server may be silent."""
    return cast(Answer, opener.open(request, timeout=patience))
