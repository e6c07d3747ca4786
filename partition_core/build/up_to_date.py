"""Recipes that need nothing, remembered: until a file changes that has a say in it.

A build with nothing to do consists of this module, so it imports next to nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from partition_core.base.file_stamp import (
    SETTLED_AFTER,
    boot,
    changed,
    identity,
    identity_now,
    variable,
)
from partition_core.base.folders import SETTINGS
from partition_core.base.outside_files import memory_in, memory_text

_PACKAGE = str(Path(__file__).parents[1])
_VARIABLES = "PARTITION_CORE_"


class Outline(NamedTuple):
    """What doit must know of a recipe: its name, a line about it and the names of its files."""

    recipe: str
    doc: str
    segments: tuple[str, ...]
    artifacts: tuple[str, ...]


class UpToDateMemory:
    """The memory, in the file `memory` of the project in `root`, of recipes that need nothing."""

    def __init__(self, root: Path, memory: Path) -> None:
        self._memory = memory
        self._world = _world(root)
        self._recipes: dict[str, Any] = _read(memory, self._world)
        self._identities: dict[str, str] = {}
        self._new = False

    def outline(self, recipe: str) -> Outline | None:
        """Return the outline of a recipe for which nothing is to be done; None if that may be."""
        try:
            files, doc, segments, artifacts = self._recipes[recipe]
            for path, told in files.items():
                now = self._identities.get(path)
                if now is None:
                    now = self._identities[path] = identity_now(path)
                if now != told:
                    return None
            return Outline(recipe, doc, tuple(segments), tuple(artifacts))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def note(self, outline: Outline, files: Mapping[str, str]) -> None:
        """Remember that nothing is to be done for a recipe while `files` have these identities.

        Not if one changed a moment ago: it could change again and keep its identity.
        """
        latest = time.time() - SETTLED_AFTER
        if any(changed(told) > latest for told in files.values()):
            return
        told = {path: told for path, told in files.items() if not path.startswith(_PACKAGE)}
        self._recipes[outline.recipe] = [told, outline.doc, outline.segments, outline.artifacts]
        self._new = True

    def save(self) -> None:
        """Keep the memory for the next run, if there is something new in it."""
        if self._new:
            from partition_core.base.disk import write_memory

            content = {"world": self._world, "recipes": self._recipes}
            write_memory(self._memory, memory_text(content))
            self._new = False


def _read(memory: Path, world: list[str]) -> dict[str, Any]:
    try:
        content = memory_in(memory)
        recipes = content["recipes"] if content["world"] == world else {}
        return recipes if isinstance(recipes, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _world(root: Path) -> list[str]:
    """Return what has a say in every recipe: Python, packages, our own code, the settings."""
    return [
        boot(),
        sys.version,
        str(root),
        # What stands for their values: the address of a shared store may have a password in it.
        *(f"{name} {variable(name)}" for name in sorted(os.environ) if name.startswith(_VARIABLES)),
        identity(root / SETTINGS),
        # A package that is installed, changed or removed changes the folder it is in.
        *(f"{place} {_touched(place)}" for place in sys.path if place and place != str(root)),
        *(f"{path} {identity(path)}" for path in sorted(_code(_PACKAGE))),
    ]


def _touched(place: str) -> float:
    try:
        return os.stat(place).st_mtime
    except OSError:
        return 0.0


def _code(folder: str) -> Iterator[str]:
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir():
                yield from _code(entry.path) if entry.name != "__pycache__" else ()
            else:
                yield entry.path
