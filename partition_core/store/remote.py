"""A store shared with others: what comes from it is verified, what goes wrong is a miss.

The form is that of Bazel's remote caches: `ac/<key>` holds entries and `cas/<sha256>` files.
How bytes travel is the transport's part: HTTP, or any file system of fsspec.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from partition_core.store.entry import Result, StoredFile, decode, encode
from partition_core.store.local import LocalStore

LARGEST_ENTRY = 64 << 20
"""Bytes of an entry at most: what is longer is no entry of ours."""

T = TypeVar("T")


class RemoteError(Exception):
    """The transport failed: no answer, a refusal, a broken connection."""


class Transport(Protocol):
    """Moves bytes under names such as `cas/<digest>`; each method raises RemoteError."""

    def read(self, name: str) -> contextlib.AbstractContextManager[Iterator[bytes] | None]:
        """Open the bytes under `name` in chunks; None if there are none."""

    def write(self, name: str, stream: BinaryIO, size: int) -> None:
        """Put `size` bytes of `stream` under `name`."""

    def has(self, name: str) -> bool:
        """Return whether there are bytes under `name`."""


class SharedStore:
    """Entries and files at the other end of a transport, read-only unless `is_written`."""

    def __init__(self, transport: Transport, is_written: bool, warn: Callable[[str], None]) -> None:
        self._transport = transport
        self.is_written = is_written
        self._warn = warn

    def fetch(self, key: str, into: LocalStore, names: Iterable[str] = ()) -> Result | None:
        """Return the result of `key` after its files, and then its entry, were put into `into`.

        `names` limits the files that are fetched; the entry is kept only with all of them.
        Whatever fails, is cut short or has another digest is a miss and a warning.
        """
        return self._tried(key, lambda: self._fetched(key, into, set(names)))

    def offers(self, key: str) -> bool:
        """Return whether there is an entry of `key`, whole."""
        return self._tried(key, lambda: self._entry(key)) is not None

    def send(self, key: str, result: Result, source: LocalStore) -> bool:
        """Give the files of a result and then its entry; return whether all arrived."""
        return self._tried(key, lambda: self._sent(key, result, source)) is True

    def _fetched(self, key: str, into: LocalStore, names: set[str]) -> Result | None:
        result = self._entry(key)
        if result is None:
            return None
        wanted = names or set(result.files)
        for name, file in result.files.items():
            if name in wanted and not into.has(file):
                self._fetch_file(name, file, into)
        if wanted >= set(result.files):
            into.put_entry(key, result)
        return result

    def _sent(self, key: str, result: Result, source: LocalStore) -> bool:
        for name, file in result.files.items():
            path = source.path_of(file)
            if path is None:
                raise RemoteError(f"'{name}' is not in the store")
            if not self._transport.has(f"cas/{file.digest}"):
                with path.open("rb") as stream, _shown(f"push {name}", file.size) as bar:
                    counted = cast(BinaryIO, CallbackIOWrapper(bar.update, stream, "read"))
                    self._transport.write(f"cas/{file.digest}", counted, file.size)
        content = encode(key, result)
        self._transport.write(f"ac/{key}", io.BytesIO(content), len(content))
        return True

    def _entry(self, key: str) -> Result | None:
        with self._transport.read(f"ac/{key}") as chunks:
            if chunks is None:
                return None
            content = b""
            for chunk in chunks:
                content += chunk
                if len(content) > LARGEST_ENTRY:
                    raise RemoteError("the entry is too long")
        result = decode(key, content)
        if result is None:
            raise RemoteError("the entry is damaged")
        return result

    def _fetch_file(self, name: str, file: StoredFile, into: LocalStore) -> None:
        with into.private_folder() as folder:
            path = folder / "file"
            with self._transport.read(f"cas/{file.digest}") as chunks:
                if chunks is None:
                    raise RemoteError(f"it has no '{name}'")
                with _shown(f"pull {name}", file.size) as bar:
                    digest = _saved(chunks, path, file, bar.update)
            if digest != file.digest:
                raise RemoteError(f"'{name}' has other bytes than its entry says")
            into.put_file(path)

    def _tried(self, key: str, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except RemoteError as error:
            self._warn(f"shared store: ac/{key}: {error}; going on without it")
            return None


def _shown(what: str, size: int) -> Any:
    return tqdm(desc=what, total=size, unit="B", unit_scale=True, disable=None)


def _saved(
    chunks: Iterable[bytes], path: Path, file: StoredFile, moved: Callable[[int], object]
) -> str:
    sha256 = hashlib.sha256()
    received = 0
    with path.open("wb") as stream:
        for chunk in chunks:
            received += len(chunk)
            if received > file.size:
                raise RemoteError("it sends more bytes than its entry says")
            sha256.update(chunk)
            stream.write(chunk)
            moved(len(chunk))
    return sha256.hexdigest()
