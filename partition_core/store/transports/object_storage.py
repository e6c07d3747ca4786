"""A shared store in object storage, through fsspec, with its usual credentials and endpoints.

For `s3://` these are the variables and files of AWS, such as `AWS_ENDPOINT_URL`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import fsspec

from partition_core.base.http_answers import CONNECT_TIMEOUT
from partition_core.base.wording import one_line
from partition_core.store.shared import RemoteDownError, RemoteError

_CHUNK = 1 << 20
_FIRST = 1 << 20
"""Bytes of the first request, which must arrive within the timeout."""
_BLOCK = 8 << 20
"""Bytes per request; S3 requires at least 5 MB."""


class FsspecTransport:
    """Names below the URL `location`, such as `s3://bucket/folder`.

    `timeout` is in seconds without a byte from the server.
    """

    def __init__(self, location: str, timeout: float) -> None:
        self.location = location
        self._scheme, _, self._base = location.partition("://")
        self._timeout = timeout
        self._options = _OPTIONS[self._scheme](timeout)

    @contextlib.contextmanager
    def read(self, name: str) -> Iterator[Iterator[bytes] | None]:
        """Yield the chunks of `name`; None if it does not exist."""
        chunks = None
        with _translated(), contextlib.suppress(FileNotFoundError):
            chunks = self._chunks(name, self._size(name))
        yield chunks

    def write(self, name: str, stream: BinaryIO, size: int) -> None:
        """Write the `size` bytes of `stream` to `name`, atomically."""
        with _translated():
            if size <= _BLOCK:
                path, content = self._path(name), stream.read()
                self._files().pipe_file(path, content, timeout=self._longest(size))
                return
            # Without `autocommit`, closing an upload that failed does not publish it.
            target = self._files().open(self._path(name), "wb", block_size=_BLOCK, autocommit=False)
            try:
                while chunk := stream.read(_CHUNK):
                    target.write(chunk)
                target.close()
                target.commit()
            except BaseException:
                target.discard()
                target.closed = True  # or the garbage collector would write it after all
                raise

    def has(self, name: str, size: int) -> bool:
        """Return whether `name` exists and has `size` bytes."""
        with _translated(), contextlib.suppress(FileNotFoundError):
            return self._size(name) == size
        return False

    def _size(self, name: str) -> int:
        return int(self._files().info(self._path(name), timeout=self._timeout)["size"])

    def _chunks(self, name: str, size: int) -> Iterator[bytes]:
        """Yield the chunks of `name`, each request with a timeout for its size."""
        start, length = 0, _FIRST
        while start < size:
            end = min(start + length, size)
            with _translated():
                chunk = self._files().cat_file(
                    self._path(name), start=start, end=end, timeout=self._longest(end - start)
                )
            yield chunk
            start, length = end, _BLOCK

    def _longest(self, size: int) -> float:
        """Return the timeout of a request with `size` bytes, in seconds.

        The timeouts of the libraries restart with each byte.
        """
        return self._timeout * max(1.0, size / _FIRST)

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _files(self) -> Any:
        """Return the file system; fsspec caches it, and creates a new one after a fork."""
        files = fsspec.filesystem(self._scheme, use_listings_cache=False, **self._options)
        files.retries = 2  # of s3fs; its default of five, with pauses, would delay a build
        return files


def _s3(timeout: float) -> dict[str, Any]:
    return {
        "config_kwargs": {
            "connect_timeout": min(timeout, CONNECT_TIMEOUT),
            "read_timeout": timeout,
            "retries": {"total_max_attempts": 1},
        }
    }


_OPTIONS: dict[str, Callable[[float], dict[str, Any]]] = {
    "s3": _s3,
    "gs": lambda timeout: {"requests_timeout": timeout},
}


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Translate the exceptions of the file-system libraries, which have already retried."""
    try:
        yield
    except (PermissionError, FileNotFoundError) as error:
        raise RemoteError(_described(error)) from error
    except Exception as error:
        raise RemoteDownError(_described(error)) from error


def _described(error: Exception) -> str:
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
