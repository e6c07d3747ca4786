"""Installed distributions: the files that they own, and their versions."""

from __future__ import annotations

import csv
import functools
import importlib.metadata
import json
import os
import re
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution

from partition_core.base.disk import digest_of

_LISTS = ("RECORD", "installed-files.txt")
_SITES = ("site-packages", "dist-packages")


class Owners:
    """The distributions in the folders `search`, by the files that they own."""

    def __init__(self, search: tuple[str, ...]) -> None:
        self._files: dict[str, Distribution] = {}
        for distribution in importlib.metadata.distributions(path=list(search)):
            for path in _files(distribution):
                self._files.setdefault(path, distribution)
        self._names: dict[int, str] = {}

    def of(self, path: str) -> str | None:
        """Return the name of the distribution that owns a file; None if there is none."""
        owner = self._files.get(path)
        folder = os.path.dirname(path)
        while owner is None and folder != os.path.dirname(folder):
            owner = self._files.get(f"{folder}{os.sep}")
            folder = os.path.dirname(folder)
        if owner is None:
            return None
        if id(owner) not in self._names:
            self._names[id(owner)] = owner.metadata["Name"]
        return self._names[id(owner)]


@functools.cache
def owners(search: tuple[str, ...]) -> Owners:
    """Return the owners of files in the folders `search`, as of the first call."""
    return Owners(search)


@functools.cache
def version_text(name: str, search: tuple[str, ...]) -> str | None:
    """Return the version of an installed distribution, None if it is not installed.

    With a digest if the version does not identify the content: for one that was installed from a
    folder or a repository.
    """
    distributions = importlib.metadata.distributions(name=name, path=list(search))
    installed = next(iter(distributions), None)
    if installed is None:
        return None
    origin = _origin(installed)
    if not origin or origin.get("dir_info", {}).get("editable"):
        return installed.version
    lines = sorted(line for line in _listed(installed) if not _varies(line))
    return f"{installed.version} ({digest_of(repr(lines).encode())[:16]})"


def installed_names(search: tuple[str, ...]) -> list[str]:
    """Return the names of all installed distributions."""
    distributions = importlib.metadata.distributions(path=list(search))
    return sorted({name for each in distributions if (name := each.metadata["Name"])})


def normalized(name: str) -> str:
    """Return the normalized name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_standard(path: str) -> bool:
    """Return whether a file is in the standard library, which Python's version identifies."""
    return path.startswith(_standard()) and not any(
        f"{os.sep}{site}{os.sep}" in path for site in _SITES
    )


@functools.cache
def _standard() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return tuple(f"{os.path.abspath(folder)}{os.sep}" for folder in sorted(folders))


def _files(distribution: Distribution) -> Iterator[str]:
    """Yield the paths of a distribution's files.

    Without a file list, a folder with a trailing separator stands for everything in it.
    """
    base = os.path.abspath(os.fspath(str(distribution.locate_file(""))))
    listed = _listed(distribution)
    for name, *_ in listed:
        path = f"{base}{os.sep}{name}"
        yield os.path.normpath(path) if ".." in name else path
    if not listed and os.path.basename(base) in _SITES:
        # As Debian installs: only the package's name is known.
        own = str(distribution.metadata["Name"] or "").replace("-", "_")
        for name in (distribution.read_text("top_level.txt") or own).split():
            yield f"{os.path.join(base, name)}{os.sep}"
            yield os.path.join(base, f"{name}.py")


def _listed(distribution: Distribution) -> list[list[str]]:
    text = next((text for name in _LISTS if (text := distribution.read_text(name))), "")
    return [row for row in csv.reader(text.splitlines()) if row]


def _origin(distribution: Distribution) -> dict[str, dict[str, object]]:
    """Return the origin of a distribution that is not from an index (PEP 610), else nothing."""
    try:
        content = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _varies(line: list[str]) -> bool:
    """Return whether a file differs between machines with the same installation."""
    name = line[0]
    return name.startswith("..") or ".dist-info/" in name or name.endswith(".pyc")
