"""A shared store behind HTTP, as Bazel's remote caches speak it: GET, HEAD and PUT of names."""

from __future__ import annotations

import base64
import contextlib
import http.client
import netrc
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import urlsplit

from partition_core.base.http_answers import Answer, SlowError, answer_of, opener
from partition_core.store.shared import RemoteDownError, RemoteError

_LOGIN = "Authorization"
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

    def _asked(self, method: str, name: str) -> Answer | None:
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
    ) -> Answer | None:
        headers = {"User-Agent": "partition-core"}
        if body is not None:
            headers |= {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        # The place is an http or https URL: `transport_of` has seen to it.
        request = urllib.request.Request(  # noqa: S310  # reason: see above
            f"{self.place}/{name}", data=body, headers=headers, method=method
        )
        opened = self._opened()
        if self._credentials:
            request.add_unredirected_header(_LOGIN, self._credentials)
        try:
            answer = answer_of(opened, request, self._patience)
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

    def _chunks(self, answer: Answer) -> Iterator[bytes]:
        chunks = answer.chunks()
        while True:
            try:
                chunk = next(chunks, None)
            except (OSError, http.client.HTTPException) as error:
                raise _failure(error) from error
            if chunk is None:
                return
            yield chunk

    def _opened(self) -> urllib.request.OpenerDirector:
        """Make ready at the first request, so that a store that is not asked costs nothing."""
        if self._opener is None:
            self._credentials = _credentials(*self._login) or _from_netrc(self.place)
            self._opener = opener(_SameServer())
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
    if isinstance(cause, SlowError):
        return RemoteDownError(str(cause))
    what = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    broke = isinstance(cause, ConnectionError | http.client.HTTPException)
    if broke and not isinstance(cause, ConnectionRefusedError):
        return RemoteError(f"the connection broke: {what}")
    return RemoteDownError(f"no answer: {what}")


def _cause(error: Exception) -> Exception:
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, Exception) else error


class _SameServer(urllib.request.HTTPRedirectHandler):
    """Follows redirects of the scheme; credentials go to the same server and nowhere else."""

    max_redirections = 3  # each may take as long as a server may be silent

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: BinaryIO,  # type: ignore[override]
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme != old.scheme:
            return None
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        login = req.unredirected_hdrs.get(_LOGIN)
        if request is not None and login and new.netloc == old.netloc:
            request.add_unredirected_header(_LOGIN, login)
        return request
