"""The current values of labels: the texts beside the labels in a fingerprint."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.digests import Digests
from partition_core.base.disk import digest_of
from partition_core.base.file_stamp import MISSING
from partition_core.build.dependencies import labels
from partition_core.build.dependencies.installed import version_text
from partition_core.build.dependencies.locating import NAMESPACE, candidate_paths, locate

FILE, FOLDER = "file", "folder"
"""What exists at a path; `MISSING` if nothing does."""

_IGNORED = ("__pycache__/", ".doit.db", ".doit.db-journal", ".doit.db-wal", ".doit.db-shm")
"""What Python and doit write beside a user's files."""


@dataclass(frozen=True)
class DependencyState:
    """What a project's models can read: the project's folder, Python's search path, the known
    digests of files, and `build_folder`, which does not count."""

    root: Path
    search: tuple[str, ...]
    digests: Digests
    build_folder: Path

    def entries(self, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """Return each label with its current value."""
        return tuple((label, self.text(label)) for label in names)

    def text(self, label: str) -> str:
        """Return the value of a label: a digest, a version, `MISSING`.

        Everything that could change the value is looked up through `digests`. Raises ValueError
        for a text that is not a label.
        """
        parts = labels.parsed(label)
        if parts is None:
            raise ValueError(label)
        kind, subject = parts
        if kind == labels.PACKAGE:
            return version_text(subject, self.search) or MISSING
        if kind == labels.MODULE:
            return self._module(subject)
        if kind == labels.VARIABLE:
            return self.digests.look_at_variable(subject)
        path = labels.path_of(subject, self.root)
        self.digests.look(Path(path))
        if kind == labels.FILE:
            return self.file_text(path)
        if kind == labels.PRESENCE:
            return present(path)
        if kind == labels.NAMES and present(path) == FOLDER:
            return names_text(self.counted(path, names_in(path)))
        if kind == labels.NAMES:
            return MISSING
        return self._ages(path)

    def file_text(self, path: str) -> str:
        """Return the digest of a file, or what else exists at its path."""
        return self.digests.of(Path(path)) or present(path)

    def counted(self, folder: str, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names in a folder without those that builds, Python and doit write there."""
        is_root = folder == str(self.build_folder.parent)
        build_folder = f"{self.build_folder.name}/" if is_root else ""
        return tuple(name for name in names if name not in (*_IGNORED, build_folder))

    def _module(self, name: str) -> str:
        location = locate(name, self.search)
        if "." not in name or location is None:
            # The mtimes of package folders show that something appeared in them.
            for path in candidate_paths(name, str(self.root)):
                self.digests.look(Path(path))
        if location is None:
            return MISSING
        for path in location.before:
            self.digests.look(Path(path))
        return NAMESPACE if location.file == NAMESPACE else self.file_text(location.file)

    def _ages(self, pattern: str) -> str:
        folder, matching = os.path.split(pattern)
        self.digests.look(Path(folder))
        times = []
        for name in fnmatch.filter(names_in(folder), matching):
            path = Path(folder, name)
            self.digests.look(path)
            with contextlib.suppress(OSError):  # it was removed just now
                times.append((path.stat().st_mtime_ns, name))
        return names_text(name for _, name in sorted(times))


def present(path: str) -> str:
    """Return what exists at a path: `FILE`, `FOLDER` or `MISSING`."""
    if os.path.isdir(path):
        return FOLDER
    return FILE if os.path.lexists(path) else MISSING


def names_in(folder: str) -> tuple[str, ...]:
    """Return the sorted names in a folder, folders with a slash; none if it is missing."""
    try:
        with os.scandir(folder) as entries:
            names = (f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
            return tuple(sorted(names))
    except OSError:
        return ()


def names_text(names: Iterable[str]) -> str:
    """Return the value of a list of names."""
    return digest_of("\n".join(names).encode(errors="surrogateescape"))
