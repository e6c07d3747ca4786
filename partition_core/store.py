"""The store: results of steps by fingerprint (`ac`), files by digest (`cas`), outside `build`."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from partition_core.disk import Digest, copy_verified, digest_of, file_digest, write_whole

LAYOUT = "v1"
FOLDER_VARIABLE = "PARTITION_CORE_STORE"


@dataclass(frozen=True)
class StoredFile:
    """A file of a result: the digest of its bytes and their number."""

    digest: Digest
    size: int


@dataclass(frozen=True)
class Result:
    """What a step gave: its files by name, and notes, which are plain data for the manifest."""

    files: Mapping[str, StoredFile]
    notes: Mapping[str, Any]


def default_folder() -> Path:
    """Return the store's folder: $PARTITION_CORE_STORE, or one in the user's cache (XDG)."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "partition-core"


class Store:
    """Results and their files below one folder; what it serves has been verified."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / LAYOUT

    def find(self, key: str) -> Result | None:
        """Return the result of the step with the fingerprint `key` if all its files are here.

        Only the files' presence and size are looked at; `restore` verifies their bytes.
        """
        try:
            sealed = json.loads(self._result_path(key).read_bytes())
            body = sealed["result"]
            if sealed["seal"] != _seal(key, body):
                return None
            files = {
                str(name): StoredFile(Digest(str(digest)), int(size))
                for name, (digest, size) in body["files"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if all(self._has(file) for file in files.values()):
            return Result(files, body["notes"])
        return None

    def keep(self, key: str, files: Mapping[str, Path], notes: Mapping[str, Any]) -> Result:
        """Take in the result of a step; `files` are its outputs, which are copied."""
        stored = {name: self._take(path) for name, path in files.items()}
        body = {
            "files": {name: [file.digest, file.size] for name, file in stored.items()},
            "notes": dict(notes),
        }
        sealed = {"result": body, "seal": _seal(key, body)}
        write_whole(self._result_path(key), json.dumps(sealed).encode())
        return Result(stored, body["notes"])

    def restore(self, file: StoredFile, target: Path) -> bool:
        """Copy a file of a result to `target`, whole and verified.

        Returns False if the store does not hold its bytes; a damaged copy is removed, so that
        the next `find` misses it.
        """
        source = self._file_path(file.digest)
        try:
            if copy_verified(source, target, file.digest):
                return True
        except FileNotFoundError:
            return False
        source.unlink(missing_ok=True)
        return False

    def verified_path(self, file: StoredFile) -> Path | None:
        """Return where the store itself keeps a file, for reading only, if its bytes are right.

        A damaged copy is removed, so that the next `find` misses it.
        """
        path = self._file_path(file.digest)
        try:
            if file_digest(path) == file.digest:
                return path
        except OSError:
            return None
        path.unlink(missing_ok=True)
        return None

    def checkpoint_path(self, pinned: str, name: str) -> Path:
        """Return where the checkpoint `name` with the pinned digest is, or will be."""
        return self._folder / "checkpoints" / f"{pinned[:16]}-{name}"

    @contextlib.contextmanager
    def private_folder(self) -> Iterator[Path]:
        """Yield an empty folder beside the stored files; it is gone at the end."""
        parent = self._folder / "work"
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            yield Path(folder)

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Let one process at a time work on `key`; the others wait."""
        folder = self._folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{key}.lock"):
            yield

    def _take(self, path: Path) -> StoredFile:
        digest = file_digest(path)
        file = StoredFile(digest, path.stat().st_size)
        if not self._has(file) and not copy_verified(path, self._file_path(digest), digest):
            raise OSError(f"'{path.name}' changed while it was stored")
        return file

    def _has(self, file: StoredFile) -> bool:
        try:
            return self._file_path(file.digest).stat().st_size == file.size
        except OSError:
            return False

    def _result_path(self, key: str) -> Path:
        return self._folder / "ac" / key[:2] / key

    def _file_path(self, digest: str) -> Path:
        return self._folder / "cas" / digest[:2] / digest


def _seal(key: str, body: Any) -> str:
    return digest_of(json.dumps([key, body], sort_keys=True).encode())
