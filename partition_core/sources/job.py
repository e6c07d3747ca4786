"""What a source is given to load, mark or run a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import Recipe
from partition_core.store.tiers import Store


@dataclass(frozen=True)
class Job:
    """A recipe with its file, for the lines of messages; the folder `root` that its relative paths
    start from; and the store, which keeps what is fetched and gives private folders."""

    root: Path
    file: RecipeFile
    store: Store

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.file.recipe
