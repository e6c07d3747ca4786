"""What the subjects of labels are now: the texts that a fingerprint has beside the labels."""

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
from partition_core.build.dependencies.locating import NAMESPACE, locate, places

FILE, FOLDER = "file", "folder"
"""What is present at a path; nothing is `MISSING`."""

_NEVER_MEANT = ("__pycache__/", ".doit.db", ".doit.db-journal", ".doit.db-wal", ".doit.db-shm")
"""What Python and doit put beside a user's files."""


@dataclass(frozen=True)
class Surroundings:
    """What a project's models can read: the folder of the project, the folders in which Python
    looks for modules, what is known of files, and the folder that builds make in the project."""

    root: Path
    search: tuple[str, ...]
    digests: Digests
    made: Path

    def entries(self, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """Return each label with the text that stands for what its subject is now."""
        return tuple((label, self.text(label)) for label in names)

    def text(self, label: str) -> str:
        """Return what stands for the subject of a label: a digest, a version, `MISSING`.

        Whatever would give another text when it appears or changes is asked of `digests`.
        Raises ValueError for a text that is no label.
        """
        found = labels.parsed(label)
        if found is None:
            raise ValueError(label)
        kind, subject = found
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
            return names_text(self.meant(path, names_in(path)))
        if kind == labels.NAMES:
            return MISSING
        return self._ages(path)

    def file_text(self, path: str) -> str:
        """Return the digest of a file, or what else is at its path."""
        return self.digests.of(Path(path)) or present(path)

    def meant(self, folder: str, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the names in a folder that no build makes there."""
        made = f"{self.made.name}/" if folder == str(self.made.parent) else ""
        return tuple(name for name in names if name not in (*_NEVER_MEANT, made))

    def _module(self, name: str) -> str:
        location = locate(name, self.search)
        if "." not in name or location is None:
            # The folders of packages tell by their times that something appeared in them.
            for place in places(name, str(self.root)):
                self.digests.look(Path(place))
        if location is None:
            return MISSING
        for place in location.before:
            self.digests.look(Path(place))
        return NAMESPACE if location.file == NAMESPACE else self.file_text(location.file)

    def _ages(self, pattern: str) -> str:
        folder, matching = os.path.split(pattern)
        self.digests.look(Path(folder))
        times = []
        for name in fnmatch.filter(names_in(folder), matching):
            path = Path(folder, name)
            self.digests.look(path)
            with contextlib.suppress(OSError):  # it went away just now
                times.append((path.stat().st_mtime_ns, name))
        return names_text(name for _, name in sorted(times))


def present(path: str) -> str:
    """Return what is at a path: `FILE`, `FOLDER` or `MISSING`."""
    if os.path.isdir(path):
        return FOLDER
    return FILE if os.path.lexists(path) else MISSING


def names_in(folder: str) -> tuple[str, ...]:
    """Return the names in a folder, sorted, those of folders with a slash; none without it."""
    try:
        with os.scandir(folder) as found:
            return tuple(sorted(f"{one.name}/" if one.is_dir() else one.name for one in found))
    except OSError:
        return ()


def names_text(names: Iterable[str]) -> str:
    """Return what stands for a list of names."""
    return digest_of("\n".join(names).encode(errors="surrogateescape"))
