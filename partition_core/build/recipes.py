"""Recipes read and checked, cached as long as their files stay the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from partition_core.base.build_name import BuildName, unknown_build
from partition_core.base.disk import digest_of, write_memory
from partition_core.base.errors import PartitionError, Place, RecipeError
from partition_core.base.fingerprint import Fingerprint
from partition_core.base.outside_files import memory_in, memory_text
from partition_core.build.fingerprint_entries import reading_entries
from partition_core.build.project import Project
from partition_core.recipe.file import RecipeFile, with_siblings
from partition_core.recipe.from_plain import recipe_value


class Recipes:
    """The recipes of a project, with a cache of those that have been checked."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._memory = project.state / "recipes.json"
        self._known = _read(self._memory)
        self._checker = Fingerprint(tuple(reading_entries(project))).key
        self._new = False

    def builds(self, recipe: str) -> Mapping[str, RecipeFile]:
        """Return what a recipe stands for, by name: itself, or each of its variants.

        Raises RecipeError with everything that is wrong with it.
        """
        cached = self._cached(recipe)
        if cached is not None:
            return cached
        # A recipe that did not change needs neither yaml nor jsonschema.
        from partition_core.recipe.reader import read_recipes

        files = read_recipes(self._project.recipe_path(recipe), self._project.root)
        sources = _sources(files)
        self._known[recipe] = {
            "checker": self._checker,
            "sources": [os.path.relpath(path, self._project.root) for path in sources],
            "digest": _digest(self._project, sources),
            "builds": {name: _plain(self._project, file) for name, file in files.items()},
        }
        self._new = True
        return files

    def names(self, recipe: str) -> tuple[str, ...]:
        """Return the names of what a recipe stands for; it may be wrong, if it can be parsed."""
        cached = self._cached(recipe)
        if cached is not None:
            return tuple(cached)
        from partition_core.recipe.reader import build_names

        return build_names(self._project.recipe_path(recipe), self._project.root)

    def open(self, name: str) -> RecipeFile:
        """Return the recipe of the build called `name`; raises RecipeError, as `builds` does."""
        files, build = self.builds(BuildName.of(name).recipe), BuildName.of(name)
        if name not in files:
            raise RecipeError(unknown_build(f"recipe={name}", build, files))
        return files[name]

    def open_model_alone(self, name: str) -> RecipeFile:
        """Return a recipe without its partition; raises RecipeError with what is wrong else."""
        from partition_core.recipe.reader import read_model_alone

        build = BuildName.of(name)
        path = self._project.recipe_path(build.recipe)
        return read_model_alone(path, self._project.root, build.variant)

    def save(self) -> None:
        """Write the cache for the next run; a failing disk costs only time."""
        if self._new:
            write_memory(self._memory, memory_text(self._known))

    def _cached(self, recipe: str) -> Mapping[str, RecipeFile] | None:
        known = self._known.get(recipe)
        try:
            if known is None or known["checker"] != self._checker:
                return None
            root = self._project.root
            sources = [root / source for source in known["sources"]]
            if _digest(self._project, sources) != known["digest"]:
                return None
            return with_siblings(
                {name: _file(name, plain, root) for name, plain in known["builds"].items()}
            )
        except (KeyError, TypeError, ValueError, AttributeError, PartitionError):
            return None  # an unreadable cache counts as empty


def _plain(project: Project, file: RecipeFile) -> dict[str, Any]:
    return {
        "sources": [os.path.relpath(path, project.root) for path in file.sources],
        "file": file.file,
        "values": file.values,
        "places": {path: [p.file, p.line, p.path] for path, p in file.places.items()},
    }


def _file(name: str, plain: Mapping[str, Any], root: Path) -> RecipeFile:
    return RecipeFile(
        recipe_value(name, plain["values"]),
        plain["file"],
        plain["values"],
        {path: Place(*place) for path, place in plain["places"].items()},
        tuple(root / source for source in plain["sources"]),
    )


def _sources(files: Mapping[str, RecipeFile]) -> tuple[Path, ...]:
    """Return the files that a recipe's builds were read from, the recipe's own first."""
    return tuple(dict.fromkeys(path for file in files.values() for path in file.sources))


def _read(memory: Path) -> dict[str, Any]:
    try:
        return memory_in(memory)
    except (OSError, ValueError):
        return {}


def _digest(project: Project, paths: Iterable[Path]) -> str:
    return digest_of("\n".join(str(project.digests.of(path)) for path in paths).encode())
