"""A store shared between machines: everything read is verified, and a fault is a cache miss.

The layout is that of Bazel's remote caches: `ac/<key>` holds entries and `cas/<sha256>` files.
A transport moves the bytes: HTTP, a folder, or any file system of fsspec.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar, cast

from partition_core.base.disk import Digest
from partition_core.base.outside_files import LARGEST_TEXT, opened
from partition_core.base.progress import shown
from partition_core.store.entry import Fits, Result, StoredFile, decode, encode
from partition_core.store.lists import Names, is_lists, lists_in
from partition_core.store.local import LocalStore
from partition_core.store.outage import Outage

if TYPE_CHECKING:
    from partition_core.store.tiers import Store

_LONGEST_TEXT = 300

T = TypeVar("T")


class RemoteError(Exception):
    """A transfer failed: refused, truncated, damaged or missing.

    The text may quote the server; it is cut to one line.
    """

    def __init__(self, what: str) -> None:
        plain = "".join(char if char.isprintable() else " " for char in what)
        super().__init__(" ".join(plain.split())[:_LONGEST_TEXT])


class RemoteDownError(RemoteError):
    """The store cannot be reached, and a retry would only cost time."""


class Transport(Protocol):
    """Moves bytes under names such as `cas/<digest>`; each method raises RemoteError."""

    @property
    def location(self) -> str:
        """Its URL without credentials, or its folder, for messages."""

    def read(self, name: str) -> contextlib.AbstractContextManager[Iterator[bytes] | None]:
        """Yield chunks of bytes, which raise RemoteError too; None if there is no `name`."""

    def write(self, name: str, stream: BinaryIO, size: int) -> None:
        """Write the `size` bytes of `stream` to `name`, atomically."""

    def has(self, name: str, size: int) -> bool:
        """Return whether `name` exists and, as far as is known, has `size` bytes."""


class SharedStore:
    """Entries and files behind a transport, read-only unless `is_written`.

    `fetch`, `offers`, `lists` and `send` are for builds: a fault is a cache miss, with one warning,
    and an outage ends all further requests. The other methods raise RemoteError.
    """

    def __init__(
        self,
        transport: Transport,
        is_written: bool,
        warn: Callable[[str], None],
        outage: Outage | None = None,
    ) -> None:
        self._transport = transport
        self.is_written = is_written
        self._warn = warn
        self._outage = outage or Outage()

    def fetch(self, key: str, fits: Fits, into: LocalStore) -> Result | None:
        """Download the files of `key` and then its entry to `into`; return the result.

        It must fit. Raises OSError for errors of the disk of `into`.
        """

        def fetched() -> Result | None:
            result = self.entry(key, fits)
            if result is None or not all(
                self.download(n, f, into) for n, f in result.files.items()
            ):
                return None
            into.put_entry(key, result)
            return result

        return self._or_miss(fetched)

    def offers(self, key: str, fits: Fits) -> bool:
        """Return whether there is an intact entry of `key` and all its files seem to exist."""

        def is_offered() -> bool:
            result = self.entry(key, fits)
            return result is not None and all(map(self._has, result.files.values()))

        return self._or_miss(is_offered) is True

    def send(self, key: str, result: Result, source: Store | LocalStore) -> bool:
        """Upload the files of a result and then its entry; return whether all arrived."""

        def sent() -> bool:
            try:
                self.upload(key, result, source)
            except OSError as error:
                raise RemoteError(f"a file to send cannot be read: {error}") from error
            return True

        return self._or_miss(sent) is True

    def lists(self, key: str) -> tuple[Names, ...]:
        """Return the lists at `key`; see `store.lists`."""
        return self._or_miss(lambda: self.lists_at(key)) or ()

    def lists_at(self, key: str) -> tuple[Names, ...]:
        """Return the lists at `key`; none if there is no such entry."""
        return lists_in(self.entry(key, is_lists))

    def entry(self, key: str, fits: Fits) -> Result | None:
        """Return the result of `key` without its files; None if there is no entry.

        Raises RemoteError for an entry that does not fit.
        """
        with self._transport.read(f"ac/{key}") as chunks:
            if chunks is None:
                return None
            content = bytearray()
            for chunk in chunks:
                content += chunk
                if len(content) > LARGEST_TEXT:
                    raise RemoteError(f"ac/{key} is too large for an entry")
        result = decode(key, bytes(content))
        if result is None or not fits(result):
            raise RemoteError(f"ac/{key} is damaged or belongs to another key")
        return result

    def download(self, name: str, file: StoredFile, into: LocalStore) -> bool:
        """Download `file` to `into`, verified, unless it has it; return False if it is missing."""
        path = into.path_of(file)
        if path is not None:
            if path.stat().st_size != file.size:
                raise RemoteError(f"its entry has a wrong size for '{name}'")
            return True
        with into.private_folder() as folder:
            path = folder / "file"
            with self._transport.read(f"cas/{file.digest}") as chunks:
                if chunks is None:
                    return False
                with shown(f"pull {name}", file.size) as bar:
                    received = _write_chunks(chunks, path, file.size, bar.update)
            if received != (file.digest, file.size):
                raise RemoteError(f"'{name}' does not match its entry (cas/{file.digest})")
            into.put_file(path)
        return True

    def upload(
        self,
        key: str,
        result: Result,
        source: Store | LocalStore,
        names: Collection[str] | None = None,
    ) -> list[str]:
        """Upload files of a result, then its entry; return the names of those that were missing.

        All files, unless `names` selects some. Raises OSError for a file that cannot be read.
        """
        moved = []
        for name, file in result.files.items():
            if (names is None or name in names) and not self._has(file):
                self._upload_file(name, file, source)
                moved.append(name)
        content = encode(key, result)
        self._transport.write(f"ac/{key}", io.BytesIO(content), len(content))
        return moved

    def _has(self, file: StoredFile) -> bool:
        return self._transport.has(f"cas/{file.digest}", file.size)

    def _upload_file(self, name: str, file: StoredFile, source: Store | LocalStore) -> None:
        path = source.path_of(file)
        if path is None:
            raise RemoteError(f"'{name}' is missing from this machine's store")
        from tqdm.utils import CallbackIOWrapper

        with opened(path) as stream, shown(f"push {name}", file.size) as bar:
            counting = cast(BinaryIO, CallbackIOWrapper(bar.update, stream))
            self._transport.write(f"cas/{file.digest}", counting, file.size)

    def _or_miss(self, action: Callable[[], T]) -> T | None:
        if self._outage.is_down:
            return None
        try:
            return action()
        except RemoteError as error:
            is_down = isinstance(error, RemoteDownError)
            if self._outage.is_new(str(error), is_down):
                rest = " for the rest of the build" if is_down else ""
                location = self._transport.location
                self._warn(f"shared store '{location}': {error}; continuing without it{rest}")
            return None


def _write_chunks(
    chunks: Iterable[bytes], path: Path, most: int, moved: Callable[[int], object]
) -> tuple[Digest, int]:
    """Write chunks to `path` until they exceed `most` bytes; return the digest and the count."""
    sha256 = hashlib.sha256()
    count = 0
    with path.open("wb") as stream:
        for chunk in chunks:
            count += len(chunk)
            sha256.update(chunk)
            stream.write(chunk)
            moved(len(chunk))
            if count > most:
                break
    return Digest(sha256.hexdigest()), count
