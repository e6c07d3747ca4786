"""A recipe with the places of its values; imports neither yaml nor jsonschema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from partition_core.base.errors import Place
from partition_core.recipe.values import Recipe

VARIANTS = "variants"
"""The key of a recipe with its variants."""


@dataclass(frozen=True)
class RecipeFile:
    """A recipe, the files it was read from, and the place of each of its values.

    `values` is the plain data as written, after inheriting. `places` is keyed by the path of the
    value in the recipe; an inherited value has the file, line and path at which it was written.
    `siblings` are the other variants of the recipe, without theirs.
    """

    recipe: Recipe
    file: str
    values: Mapping[str, Any]
    places: Mapping[str, Place]
    sources: tuple[Path, ...]
    siblings: tuple[RecipeFile, ...] = ()

    @property
    def builds(self) -> tuple[str, ...]:
        """The sorted names of all builds of the recipe: its own, or those of its variants."""
        return tuple(sorted(file.recipe.name for file in (self, *self.siblings)))

    @property
    def scaled_by(self) -> RecipeFile | None:
        """The variant on whose inputs weights from a seed are scaled, so that all have the same;
        None for the recipe itself, and for other weights."""
        first = min((self, *self.siblings), key=lambda file: file.recipe.name)
        return None if first is self or self.recipe.model.seed is None else first

    def place(self, path: str) -> Place:
        """Return the place of the value at `path`, or of the nearest value around it."""
        return self.places.get(self._nearest(path), Place(self.file))

    def exact_place(self, path: str) -> Place:
        """Return the place of the value at `path`, whether it was written or not.

        Its file and line are those of the nearest value around it.
        """
        place, nearest = self.place(path), self._nearest(path)
        # What is in a variant was written elsewhere than it is in the recipe.
        start = place.path if place.path.startswith(f"{VARIANTS}.") else nearest
        return Place(place.file, place.line, f"{start}{path[len(nearest) :]}")

    def _nearest(self, path: str) -> str:
        while path and path not in self.places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return path


def with_siblings(files: Mapping[str, RecipeFile]) -> dict[str, RecipeFile]:
    """Return the variants of a recipe, by sorted name, each with the others as its siblings."""
    names = sorted(files)
    return {
        name: replace(files[name], siblings=tuple(files[each] for each in names if each != name))
        for name in names
    }
