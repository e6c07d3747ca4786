"""What a source needs to load, mark or run a model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.digests import Digests
from partition_core.base.progress import Say, phase
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import Recipe
from partition_core.store.tiers import Store


@dataclass(frozen=True, kw_only=True)
class Job:
    """A recipe with its file, for places in messages; the folder `root` that its relative paths
    start from; the store, for downloads and private folders; the known digests of files; and the
    function that prints lines for the user."""

    root: Path
    file: RecipeFile
    store: Store
    digests: Digests
    say: Say = print

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.file.recipe

    def phase(self, part: str) -> AbstractContextManager[None]:
        """Announce a long part of the work, and afterwards how long it took."""
        return phase(f"{self.recipe.name}: {part}", self.say)
