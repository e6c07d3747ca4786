"""The cache of up-to-date recipes, valid until a file changes that they depend on.

A build with nothing to do runs only this module, so it imports next to nothing.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from partition_core.base.build_name import SEPARATOR, BuildName
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


class RecipeOverview(NamedTuple):
    """What doit needs of a build: its name, a line about it and the names of its artifacts.

    `builds` are the names of all builds of its recipe, `targets` those artifacts that are folders:
    segments converted for a runtime.
    """

    recipe: str
    doc: str
    segments: tuple[str, ...]
    artifacts: tuple[str, ...]
    builds: tuple[str, ...]
    targets: tuple[str, ...] = ()


class UpToDateCache:
    """The up-to-date recipes of the project in `root`, cached in the file `memory`."""

    def __init__(self, root: Path, memory: Path) -> None:
        self._memory = memory
        self._global_inputs = _global_inputs(root)
        self._recipes: dict[str, Any] = _read(memory, self._global_inputs)
        self._stamps: dict[str, str] = {}
        self._overviews: dict[str, RecipeOverview | None] = {}
        self._is_changed = False

    def overview(self, recipe: str) -> RecipeOverview | None:
        """Return what is cached of a build that is up to date; None if it may not be."""
        if recipe not in self._overviews:
            self._overviews[recipe] = self._valid(recipe)
        return self._overviews[recipe]

    def _valid(self, recipe: str) -> RecipeOverview | None:
        try:
            files, doc, *names = self._recipes[recipe]
            segments, artifacts, builds, targets = map(tuple, names)
            for path, stamp in files.items():
                now = self._stamps.get(path)
                if now is None:
                    now = self._stamps[path] = identity_now(path)
                if now != stamp:
                    return None
            return RecipeOverview(recipe, doc, segments, artifacts, builds, targets)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def builds(self, recipe: str) -> tuple[str, ...]:
        """Return the builds of a recipe; none if not one of them may be up to date."""
        for name in self._variants.get(recipe, (recipe,)):
            if (overview := self.overview(name)) is not None:
                return overview.builds
        return ()

    @functools.cached_property
    def _variants(self) -> Mapping[str, Sequence[str]]:
        """The cached variants by the names of their recipes."""
        variants: dict[str, list[str]] = {}
        for name in self._recipes:
            if SEPARATOR in name:
                variants.setdefault(BuildName.of(name).recipe, []).append(name)
        return variants

    def add(self, overview: RecipeOverview, stamps: Mapping[str, str]) -> None:
        """Cache that a recipe is up to date while its files have these stamps.

        Not if a file changed a moment ago: it could change again and keep its stamp.
        """
        latest = time.time() - SETTLED_AFTER
        if any(changed(stamp) > latest for stamp in stamps.values()):
            return
        own = {path: stamp for path, stamp in stamps.items() if not path.startswith(_PACKAGE)}
        self._recipes[overview.recipe] = [own, *overview[1:]]
        self._is_changed = True

    def save(self) -> None:
        """Write the cache for the next run, if it changed."""
        if self._is_changed:
            from partition_core.base.disk import write_memory

            content = {"world": self._global_inputs, "recipes": self._recipes}
            write_memory(self._memory, memory_text(content))
            self._is_changed = False


def _read(memory: Path, global_inputs: list[str]) -> dict[str, Any]:
    try:
        content = memory_in(memory)
        recipes = content["recipes"] if content["world"] == global_inputs else {}
        return recipes if isinstance(recipes, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _global_inputs(root: Path) -> list[str]:
    """Return what every recipe depends on: Python, packages, our own code, the settings."""
    return [
        boot(),
        sys.version,
        str(root),
        # Digests of their values: the address of a shared store may contain a password.
        *(f"{name} {variable(name)}" for name in sorted(os.environ) if name.startswith(_VARIABLES)),
        identity(root / SETTINGS),
        # A package that is installed, changed or removed changes the folder it is in.
        *(f"{folder} {_mtime(folder)}" for folder in sys.path if folder and folder != str(root)),
        *(f"{path} {identity(path)}" for path in sorted(_code(_PACKAGE))),
    ]


def _mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _code(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _code(entry.path) if entry.name != "__pycache__" else ()
            else:
                yield entry.path
