"""A store shared with others: what comes from it is verified, what goes wrong is a miss.

The form is that of Bazel's remote caches: `ac/<key>` holds entries and `cas/<sha256>` files.
How bytes travel is the transport's part: HTTP, a folder, or any file system of fsspec.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar, cast

from partition_core.base.disk import Digest
from partition_core.base.outside_files import LARGEST_TEXT, opened
from partition_core.base.progress import shown
from partition_core.store.entry import Fits, Result, StoredFile, decode, encode
from partition_core.store.lists import Names, is_lists, lists_in
from partition_core.store.local import LocalStore
from partition_core.store.outage import Outage

_LONGEST_TEXT = 300

T = TypeVar("T")


class RemoteError(Exception):
    """One thing cannot be moved: it is refused, cut short, damaged or not there.

    What a server says is part of the text; it is held to one line.
    """

    def __init__(self, what: str) -> None:
        plain = "".join(char if char.isprintable() else " " for char in what)
        super().__init__(" ".join(plain.split())[:_LONGEST_TEXT])


class RemoteDownError(RemoteError):
    """There is no answer at all, and trying once more would only cost time."""


class Transport(Protocol):
    """Moves bytes under names such as `cas/<digest>`; each method raises RemoteError."""

    @property
    def place(self) -> str:
        """What messages call it: its URL without credentials."""

    def read(self, name: str) -> contextlib.AbstractContextManager[Iterator[bytes] | None]:
        """Open the bytes under `name` in chunks, which raise RemoteError too; None without."""

    def write(self, name: str, stream: BinaryIO, size: int) -> None:
        """Put the `size` bytes of `stream` under `name`, whole or not at all."""

    def has(self, name: str, size: int) -> bool:
        """Return whether there are `size` bytes under `name`, as far as can be told."""


class Files(Protocol):
    """Where the bytes of results are read."""

    def path_of(self, file: StoredFile) -> Path | None:
        """Return where the bytes of `file` are; None without them."""


class SharedStore:
    """Entries and files at the other end of a transport, read-only unless `is_written`.

    `fetch`, `offers`, `lists` and `send` are for builds: what goes wrong afar is told once and is a
    miss, and after no answer nothing is tried any more. The others raise RemoteError.
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
        """Return the result of `key` after its files, and then its entry, were put into `into`.

        It must fit. Raises OSError if the disk of `into` refuses.
        """

        def fetched() -> Result | None:
            result = self.entry(key, fits)
            if result is None or not all(self.bring(n, f, into) for n, f in result.files.items()):
                return None
            into.put_entry(key, result)
            return result

        return self._tried(fetched)

    def offers(self, key: str, fits: Fits) -> bool:
        """Return whether there is an entry of `key`, whole, and all its files seem to be there."""

        def offered() -> bool:
            result = self.entry(key, fits)
            return result is not None and all(map(self._has, result.files.values()))

        return self._tried(offered) is True

    def send(self, key: str, result: Result, source: Files) -> bool:
        """Give the files of a result and then its entry; return whether all arrived."""

        def sent() -> bool:
            try:
                self.give(key, result, source)
            except OSError as error:
                raise RemoteError(f"a file to send cannot be read: {error}") from error
            return True

        return self._tried(sent) is True

    def lists(self, key: str) -> tuple[Names, ...]:
        """Return the lists at `key`; see `store.lists`."""
        return self._tried(lambda: self.lists_at(key)) or ()

    def lists_at(self, key: str) -> tuple[Names, ...]:
        """Return the lists at `key`, none without."""
        return lists_in(self.entry(key, is_lists))

    def entry(self, key: str, fits: Fits) -> Result | None:
        """Return the result of `key`, of which no file is transferred; None without.

        One that does not fit is refused.
        """
        with self._transport.read(f"ac/{key}") as chunks:
            if chunks is None:
                return None
            content = bytearray()
            for chunk in chunks:
                content += chunk
                if len(content) > LARGEST_TEXT:
                    raise RemoteError(f"ac/{key} is too long for an entry")
        result = decode(key, bytes(content))
        if result is None or not fits(result):
            raise RemoteError(f"ac/{key} is damaged or belongs to another key")
        return result

    def bring(self, name: str, file: StoredFile, into: LocalStore) -> bool:
        """Put the bytes of `file` into `into`, verified, unless they are there; False without."""
        path = into.path_of(file)
        if path is not None:
            if path.stat().st_size != file.size:
                raise RemoteError(f"its entry tells a wrong size of '{name}'")
            return True
        with into.private_folder() as folder:
            path = folder / "file"
            with self._transport.read(f"cas/{file.digest}") as chunks:
                if chunks is None:
                    return False
                with shown(f"pull {name}", file.size) as bar:
                    found = _saved(chunks, path, file.size, bar.update)
            if found != (file.digest, file.size):
                raise RemoteError(f"'{name}' is not what its entry says (cas/{file.digest})")
            into.put_file(path)
        return True

    def give(
        self, key: str, result: Result, source: Files, names: Collection[str] | None = None
    ) -> list[str]:
        """Give files of a result, and then its entry; return the names of those it lacked.

        All files, unless `names` picks some. Raises OSError for a file that cannot be read.
        """
        moved = []
        for name, file in result.files.items():
            if (names is None or name in names) and not self._has(file):
                self._give_file(name, file, source)
                moved.append(name)
        content = encode(key, result)
        self._transport.write(f"ac/{key}", io.BytesIO(content), len(content))
        return moved

    def _has(self, file: StoredFile) -> bool:
        return self._transport.has(f"cas/{file.digest}", file.size)

    def _give_file(self, name: str, file: StoredFile, source: Files) -> None:
        path = source.path_of(file)
        if path is None:
            raise RemoteError(f"'{name}' left the store of this machine")
        with opened(path) as stream, shown(f"push {name}", file.size) as bar:
            counted = _Counted(stream, bar.update)
            self._transport.write(f"cas/{file.digest}", cast(BinaryIO, counted), file.size)

    def _tried(self, action: Callable[[], T]) -> T | None:
        if self._outage.is_down:
            return None
        try:
            return action()
        except RemoteError as error:
            is_down = isinstance(error, RemoteDownError)
            if self._outage.is_new(str(error), is_down):
                rest = "; nothing more is tried" if is_down else ""
                place = self._transport.place
                self._warn(f"shared store '{place}': {error}; going on without it{rest}")
            return None


class _Counted:
    """A stream that tells how many bytes were read from it."""

    def __init__(self, stream: BinaryIO, moved: Callable[[int], object]) -> None:
        self._stream = stream
        self._moved = moved

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._moved(len(chunk))
        return chunk


def _saved(
    chunks: Iterable[bytes], path: Path, most: int, moved: Callable[[int], object]
) -> tuple[Digest, int]:
    """Write chunks to `path`, `most` bytes and a little; return the digest and the count."""
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
