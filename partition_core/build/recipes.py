"""Recipes read and checked, cached as long as their files stay the same."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from partition_core.base.disk import digest_of, write_memory
from partition_core.base.errors import PartitionError, Place
from partition_core.base.fingerprint import Fingerprint
from partition_core.base.outside_files import memory_in, memory_text
from partition_core.build.fingerprint_entries import reading_entries
from partition_core.build.project import Project
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.from_plain import recipe_value


class Recipes:
    """The recipes of a project, with a cache of those that have been checked."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._memory = project.state / "recipes.json"
        self._known = _read(self._memory)
        self._checker = Fingerprint(tuple(reading_entries(project))).key
        self._new = False

    def open(self, name: str) -> RecipeFile:
        """Return a recipe; raises RecipeError with everything that is wrong with it."""
        cached = self._cached(name)
        if cached is not None:
            return cached
        # A recipe that did not change needs neither yaml nor jsonschema.
        from partition_core.recipe.reader import read_recipe

        file = read_recipe(self._project.recipe_path(name), self._project.root)
        self._known[name] = {
            "checker": self._checker,
            "sources": [os.path.relpath(path, self._project.root) for path in file.sources],
            "digest": _digest(self._project, file.sources),
            "file": file.file,
            "values": file.values,
            "places": {path: [p.file, p.line, p.path] for path, p in file.places.items()},
        }
        self._new = True
        return file

    def open_model_alone(self, name: str) -> RecipeFile:
        """Return a recipe without its partition; raises RecipeError with what is wrong else."""
        from partition_core.recipe.reader import read_model_alone

        return read_model_alone(self._project.recipe_path(name), self._project.root)

    def save(self) -> None:
        """Write the cache for the next run; a failing disk costs only time."""
        if self._new:
            write_memory(self._memory, memory_text(self._known))

    def _cached(self, name: str) -> RecipeFile | None:
        known = self._known.get(name)
        try:
            if known is None or known["checker"] != self._checker:
                return None
            sources = tuple(self._project.root / source for source in known["sources"])
            if _digest(self._project, sources) != known["digest"]:
                return None
            places = {path: Place(*place) for path, place in known["places"].items()}
            values = known["values"]
            return RecipeFile(recipe_value(name, values), known["file"], values, places, sources)
        except (KeyError, TypeError, ValueError, AttributeError, PartitionError):
            return None  # an unreadable cache counts as empty


def _read(memory: Path) -> dict[str, Any]:
    try:
        return memory_in(memory)
    except (OSError, ValueError):
        return {}


def _digest(project: Project, paths: Iterable[Path]) -> str:
    return digest_of("\n".join(str(project.digests.of(path)) for path in paths).encode())
