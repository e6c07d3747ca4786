"""A shared store behind HTTP, as Bazel's remote caches speak it: GET, HEAD and PUT of names."""

from __future__ import annotations

import base64
import contextlib
import http.client
import netrc
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import urlsplit

from partition_core.store.remote import RemoteDownError, RemoteError

CONNECT_TIMEOUT = 5.0
"""Seconds in which a connection must stand."""

SLOWEST = 1000
"""Bytes a second that a body must have, once it took as long as a server may be silent."""

_CHUNK = 1 << 20
_NOT_FOUND = (404, 410)
_OK = 200


class HttpTransport:
    """Names below the URL `place`.

    `login` is a user and a password (Basic), or one of both (a Bearer token); without one, the
    user's netrc file is asked. `patience` is how many seconds the server may be silent.
    """

    def __init__(self, place: str, login: tuple[str, str], patience: float) -> None:
        self.place = place
        self._login = login
        self._patience = patience
        self._opener: urllib.request.OpenerDirector | None = None
        self._credentials = ""

    @contextlib.contextmanager
    def read(self, name: str) -> Iterator[Iterator[bytes] | None]:
        """Open the bytes under `name` in chunks; None if there are none."""
        with contextlib.ExitStack() as held:
            answer = self._asked("GET", name)
            yield self._chunks(held.enter_context(answer)) if answer else None

    def write(self, name: str, stream: BinaryIO, size: int) -> None:
        """Put the `size` bytes of `stream` under `name`."""
        answer = self._request("PUT", name, stream, size)
        if answer is None:
            raise RemoteError("the server answers that it has no such place (404)")
        answer.close()

    def has(self, name: str, size: int) -> bool:
        """Return whether there are bytes under `name`, and `size` of them if that is told."""
        answer = self._asked("HEAD", name)
        if answer is None:
            return False
        with answer:
            return answer.headers.get("Content-Length", str(size)) == str(size)

    def _asked(self, method: str, name: str) -> http.client.HTTPResponse | None:
        """Ask once more if the connection broke: a server that restarts does that."""
        try:
            return self._request(method, name)
        except RemoteDownError:
            raise
        except RemoteError as error:
            if not isinstance(error.__cause__, ConnectionError):
                raise
            return self._request(method, name)

    def _request(
        self, method: str, name: str, body: BinaryIO | None = None, size: int = 0
    ) -> http.client.HTTPResponse | None:
        headers = {"User-Agent": "partition-core"}
        if body is not None:
            headers |= {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        # The place is an http or https URL: `transport_of` has seen to it.
        request = urllib.request.Request(  # noqa: S310  # reason: see above
            f"{self.place}/{name}", data=body, headers=headers, method=method
        )
        opener = self._opened()
        if self._credentials:
            request.add_unredirected_header("Authorization", self._credentials)
        try:
            answer: http.client.HTTPResponse = opener.open(request, timeout=self._patience)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _NOT_FOUND:
                return None
            raise RemoteError(f"the server answers {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise _failure(error) from _cause(error)
        if method == "GET" and answer.status != _OK:
            answer.close()
            raise RemoteError(f"the server answers {answer.status} instead of {_OK}")
        return answer

    def _chunks(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        start, count = time.monotonic(), 0
        while True:
            try:
                chunk = answer.read1(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _failure(error) from error
            if not chunk:
                return
            yield chunk
            count += len(chunk)
            passed = time.monotonic() - start
            if passed > self._patience and count < passed * SLOWEST:
                raise RemoteDownError(f"it sends less than {SLOWEST} bytes a second")

    def _opened(self) -> urllib.request.OpenerDirector:
        """Make ready at the first request, so that a store that is not asked costs nothing."""
        if self._opener is None:
            self._credentials = _credentials(*self._login) or _from_netrc(self.place)
            self._opener = urllib.request.build_opener(_Http, _Https, _SameScheme)
        return self._opener


def _credentials(user: str, password: str) -> str:
    if user and password:
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    token = user or password
    return f"Bearer {token}" if token else ""


def _from_netrc(place: str) -> str:
    """Return what the netrc file has for the host; one that cannot be read has nothing."""
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(place).hostname or "")
        if found is not None:
            return _credentials(found[0], found[2] or "")
    return ""


def _failure(error: Exception) -> RemoteError:
    """Return what an error of the library means: a connection that broke, or no answer."""
    cause = _cause(error)
    what = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    broke = isinstance(cause, ConnectionError | http.client.HTTPException)
    if broke and not isinstance(cause, ConnectionRefusedError):
        return RemoteError(f"the connection broke: {what}")
    return RemoteDownError(f"no answer: {what}")


def _cause(error: Exception) -> Exception:
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, Exception) else error


class _Connection(http.client.HTTPConnection):
    """A connection that must stand soon, and may then be silent for longer."""

    def connect(self) -> None:
        patience = _hasten(self)
        super().connect()
        self.sock.settimeout(patience)


class _SecureConnection(http.client.HTTPSConnection):
    """The same with TLS."""

    def connect(self) -> None:
        patience = _hasten(self)
        super().connect()
        self.sock.settimeout(patience)


def _hasten(connection: http.client.HTTPConnection) -> float:
    patience = connection.timeout or CONNECT_TIMEOUT
    connection.timeout = min(patience, CONNECT_TIMEOUT)
    connection.blocksize = _CHUNK
    return patience


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to another scheme; credentials go to no other place in any case."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: BinaryIO,  # type: ignore[override]
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != urlsplit(req.full_url).scheme:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)
