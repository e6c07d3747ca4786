"""A shared store in object storage, through fsspec: credentials and endpoints as its users know.

For `s3://` these are the variables and files of AWS, such as `AWS_ENDPOINT_URL`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import fsspec

from partition_core.store.shared import RemoteDownError, RemoteError

CONNECT_TIMEOUT = 5.0
"""Seconds in which a connection must stand."""

_CHUNK = 1 << 20
_FIRST = 1 << 20
"""Bytes of the first request, which must be here while the server may be silent."""
_BLOCK = 8 << 20
"""Bytes that are moved by one request; S3 wants 5 MB at least."""


class FsspecTransport:
    """Names below the URL `place`, such as `s3://bucket/folder`.

    `patience` is how many seconds the server may be silent.
    """

    def __init__(self, place: str, patience: float) -> None:
        self.place = place
        self._scheme, _, self._base = place.partition("://")
        self._patience = patience
        self._options = _OPTIONS[self._scheme](patience)

    @contextlib.contextmanager
    def read(self, name: str) -> Iterator[Iterator[bytes] | None]:
        """Open the bytes under `name` in chunks; None if there are none."""
        chunks = None
        with _translated(), contextlib.suppress(FileNotFoundError):
            chunks = self._chunks(name, self._size(name))
        yield chunks

    def write(self, name: str, stream: BinaryIO, size: int) -> None:
        """Put the `size` bytes of `stream` under `name`, whole or not at all."""
        with _translated():
            if size <= _BLOCK:
                path, content = self._path(name), stream.read()
                self._files().pipe_file(path, content, timeout=self._slowest(size))
                return
            # Without `autocommit` an upload that fails half-way does not appear when it is closed.
            target = self._files().open(self._path(name), "wb", block_size=_BLOCK, autocommit=False)
            try:
                while chunk := stream.read(_CHUNK):
                    target.write(chunk)
                target.close()
                target.commit()
            except BaseException:
                target.discard()
                target.closed = True  # or it is written after all when it is collected
                raise

    def has(self, name: str, size: int) -> bool:
        """Return whether there are `size` bytes under `name`."""
        with _translated(), contextlib.suppress(FileNotFoundError):
            return self._size(name) == size
        return False

    def _size(self, name: str) -> int:
        return int(self._files().info(self._path(name), timeout=self._patience)["size"])

    def _chunks(self, name: str, size: int) -> Iterator[bytes]:
        """Yield the bytes under `name`, those of a request in the time that it may take."""
        start, length = 0, _FIRST
        while start < size:
            end = min(start + length, size)
            with _translated():
                chunk = self._files().cat_file(
                    self._path(name), start=start, end=end, timeout=self._slowest(end - start)
                )
            yield chunk
            start, length = end, _BLOCK

    def _slowest(self, size: int) -> float:
        """Return the seconds that a request with `size` bytes may take.

        The time-outs of the libraries begin anew with each byte.
        """
        return self._patience * max(1.0, size / _FIRST)

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _files(self) -> Any:
        """Return the file system; fsspec keeps it, and makes another one after a fork."""
        files = fsspec.filesystem(self._scheme, use_listings_cache=False, **self._options)
        files.retries = 2  # of s3fs; its five, each with pauses, would hold up a build
        return files


def _s3(patience: float) -> dict[str, Any]:
    return {
        "config_kwargs": {
            "connect_timeout": min(patience, CONNECT_TIMEOUT),
            "read_timeout": patience,
            "retries": {"total_max_attempts": 1},
        }
    }


def _gs(patience: float) -> dict[str, Any]:
    return {"requests_timeout": patience}


_OPTIONS = {"s3": _s3, "gs": _gs}


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Translate whatever the libraries of a file system raise; they have tried again already."""
    try:
        yield
    except (PermissionError, FileNotFoundError) as error:
        raise RemoteError(_told(error)) from error
    except Exception as error:
        raise RemoteDownError(_told(error)) from error


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
