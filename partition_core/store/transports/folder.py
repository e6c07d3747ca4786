"""A shared store in a folder that several machines mount, such as one on a file server."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from partition_core.base.disk import READ_ONLY, written_whole
from partition_core.base.outside_files import opened
from partition_core.store.shared import RemoteDownError, RemoteError

_CHUNK = 1 << 20


class FolderTransport:
    """Files below a folder, which must exist: a folder that is not mounted is not created."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.location = str(folder)

    @contextlib.contextmanager
    def read(self, name: str) -> Iterator[Iterator[bytes] | None]:
        """Yield the chunks of `name`; None if it does not exist."""
        with contextlib.ExitStack() as stack:
            chunks = None
            with self._translated(), contextlib.suppress(FileNotFoundError):
                stream = stack.enter_context(opened(self._folder / name))
                chunks = self._chunks(stream)
            yield chunks

    def write(self, name: str, stream: BinaryIO, size: int) -> None:
        """Write the bytes of `stream` to `name`, atomically."""
        with (
            self._translated(),
            written_whole(self._folder / name, READ_ONLY) as part,
            part.open("wb") as target,
        ):
            shutil.copyfileobj(stream, target, _CHUNK)

    def has(self, name: str, size: int) -> bool:
        """Return whether `name` exists and has `size` bytes."""
        with self._translated(), contextlib.suppress(FileNotFoundError):
            return (self._folder / name).stat().st_size == size
        return False

    def _chunks(self, stream: BinaryIO) -> Iterator[bytes]:
        with self._translated():
            while chunk := stream.read(_CHUNK):
                yield chunk

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        if not self._folder.is_dir():
            raise RemoteDownError("there is no such folder")
        try:
            yield
        except OSError as error:
            raise RemoteError(error.strerror or str(error)) from error
