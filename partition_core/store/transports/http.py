"""A shared store over HTTP, with the protocol of Bazel's remote caches: GET, HEAD and PUT."""

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

from partition_core.base.http_answers import Answer, SlowError, answer_of, opener_with
from partition_core.store.shared import RemoteDownError, RemoteError

_LOGIN = "Authorization"
_NOT_FOUND = (404, 410)
_OK = 200


class HttpTransport:
    """Names below the URL `location`.

    `login` is a user and a password (Basic), or only one of them (a Bearer token); if both are
    empty, the user's netrc file is read. `timeout` is in seconds without a byte from the server.
    """

    def __init__(self, location: str, login: tuple[str, str], timeout: float) -> None:
        self.location = location
        self._login = login
        self._timeout = timeout
        self._opener: urllib.request.OpenerDirector | None = None
        self._credentials = ""

    @contextlib.contextmanager
    def read(self, name: str) -> Iterator[Iterator[bytes] | None]:
        """Yield the chunks of `name`; None if it does not exist."""
        with contextlib.ExitStack() as stack:
            answer = self._retried("GET", name)
            yield self._chunks(stack.enter_context(answer)) if answer else None

    def write(self, name: str, stream: BinaryIO, size: int) -> None:
        """Write the `size` bytes of `stream` to `name`."""
        answer = self._request("PUT", name, stream, size)
        if answer is None:
            raise RemoteError("the server answers 404: there is nothing at this URL")
        answer.close()

    def has(self, name: str, size: int) -> bool:
        """Return whether `name` exists, with `size` bytes if the server reports a length."""
        answer = self._retried("HEAD", name)
        if answer is None:
            return False
        with answer:
            return answer.headers.get("Content-Length", str(size)) == str(size)

    def _retried(self, method: str, name: str) -> Answer | None:
        """Send a request; retry once if the connection broke, as when a server restarts."""
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
        # `transport_of` ensures that this is an http or https URL.
        request = urllib.request.Request(  # noqa: S310  # reason: see above
            f"{self.location}/{name}", data=body, headers=headers, method=method
        )
        opener = self._open()
        if self._credentials:
            request.add_unredirected_header(_LOGIN, self._credentials)
        try:
            answer = answer_of(opener, request, self._timeout)
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

    def _open(self) -> urllib.request.OpenerDirector:
        """Set up at the first request, so that an unused store costs nothing."""
        if self._opener is None:
            self._credentials = _credentials(*self._login) or _from_netrc(self.location)
            self._opener = opener_with(_SameServer())
        return self._opener


def _credentials(user: str, password: str) -> str:
    if user and password:
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    token = user or password
    return f"Bearer {token}" if token else ""


def _from_netrc(location: str) -> str:
    """Return the credentials of the host in the netrc file; an unreadable file has none."""
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        host = urlsplit(location).hostname or ""
        login = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
        if login is not None:
            return _credentials(login[0], login[2] or "")
    return ""


def _failure(error: Exception) -> RemoteError:
    """Return the error for an exception of the library: a broken connection, or no answer."""
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
    """Follows redirects within a scheme; sends credentials only to the same server."""

    max_redirections = 3  # each may take a whole timeout

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
