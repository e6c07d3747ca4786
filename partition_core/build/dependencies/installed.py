"""Installed distributions: which files are theirs, and what stands for their content."""

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
    """Which distribution, of those in the folders `search`, a file belongs to."""

    def __init__(self, search: tuple[str, ...]) -> None:
        self._files: dict[str, Distribution] = {}
        for one in importlib.metadata.distributions(path=list(search)):
            for path in _files(one):
                self._files.setdefault(path, one)
        self._names: dict[int, str] = {}

    def of(self, path: str) -> str | None:
        """Return the name of the distribution of a file; None for a file of nobody's."""
        one = self._files.get(path)
        folder = os.path.dirname(path)
        while one is None and folder != os.path.dirname(folder):
            one = self._files.get(f"{folder}{os.sep}")
            folder = os.path.dirname(folder)
        if one is None:
            return None
        if id(one) not in self._names:
            self._names[id(one)] = one.metadata["Name"]
        return self._names[id(one)]


@functools.cache
def owners(search: tuple[str, ...]) -> Owners:
    """Return the owners of files in the folders `search`, as they are when it is asked first."""
    return Owners(search)


@functools.cache
def version_text(name: str, search: tuple[str, ...]) -> str | None:
    """Return the version of an installed distribution, None if it is not installed.

    With more where the version does not tell the content: of one that was installed from a
    folder or a repository.
    """
    one = next(iter(importlib.metadata.distributions(name=name, path=list(search))), None)
    if one is None:
        return None
    origin = _origin(one)
    if not origin or origin.get("dir_info", {}).get("editable"):
        return one.version
    lines = sorted(line for line in _listed(one) if not _varies(line))
    return f"{one.version} ({digest_of(repr(lines).encode())[:16]})"


def installed_names(search: tuple[str, ...]) -> list[str]:
    """Return the names of all installed distributions."""
    found = importlib.metadata.distributions(path=list(search))
    return sorted({name for one in found if (name := one.metadata["Name"])})


def normalized(name: str) -> str:
    """Return the one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_standard(path: str) -> bool:
    """Return whether a file is of Python's standard library, for which Python's version stands."""
    return path.startswith(_standard()) and not any(
        f"{os.sep}{site}{os.sep}" in path for site in _SITES
    )


@functools.cache
def _standard() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return tuple(f"{os.path.abspath(folder)}{os.sep}" for folder in sorted(folders))


def _files(one: Distribution) -> Iterator[str]:
    """Yield the paths of a distribution's files.

    A folder that ends in a separator stands for all in it, where no file is listed.
    """
    base = os.path.abspath(os.fspath(str(one.locate_file(""))))
    listed = _listed(one)
    for name, *_ in listed:
        path = f"{base}{os.sep}{name}"
        yield os.path.normpath(path) if ".." in name else path
    if not listed and os.path.basename(base) in _SITES:
        # As Debian installs: the package is known by its name alone.
        own = str(one.metadata["Name"] or "").replace("-", "_")
        for name in (one.read_text("top_level.txt") or own).split():
            yield f"{os.path.join(base, name)}{os.sep}"
            yield os.path.join(base, f"{name}.py")


def _listed(one: Distribution) -> list[list[str]]:
    text = next((text for name in _LISTS if (text := one.read_text(name))), "")
    return [row for row in csv.reader(text.splitlines()) if row]


def _origin(one: Distribution) -> dict[str, dict[str, object]]:
    """Return where a distribution came from if not from an index (PEP 610), else nothing."""
    try:
        content = json.loads(one.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _varies(line: list[str]) -> bool:
    """Return whether a file differs between machines that installed the same."""
    name = line[0]
    return name.startswith("..") or ".dist-info/" in name or name.endswith(".pyc")
