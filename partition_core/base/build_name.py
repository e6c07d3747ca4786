"""The names of builds and of their files: those of a recipe, or of one of its variants."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from partition_core.base.errors import Place, Problem, one_of, problem, suggestion
from partition_core.base.folders import BUILD, MANIFEST

SEPARATOR = "@"
VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)
"""The name of a variant; it has no dot, so that a file's name shows its variant."""


class BuildName(NamedTuple):
    """The name of a build: `llama@decode` is the variant `decode` of the recipe `llama`.

    All variants of a recipe have one build folder, and each file but those of weights begins with
    the variant's name there.
    """

    recipe: str
    variant: str = ""

    @classmethod
    def of(cls, text: str) -> BuildName:
        """Return the name that is written as `text`."""
        recipe, _, variant = text.partition(SEPARATOR)
        return cls(recipe, variant)

    def __str__(self) -> str:
        return SEPARATOR.join(filter(None, self))

    @property
    def folder(self) -> str:
        """The build folder, relative to the project's."""
        return f"{BUILD}/{self.recipe}"

    def file(self, artifact: str) -> str:
        """Return the name of an artifact in the build folder."""
        return published_file(self.variant, artifact)

    def path(self, artifact: str) -> str:
        """Return the path of an artifact, relative to the project's folder."""
        return f"{self.folder}/{self.file(artifact)}"


def published_file(variant: str, artifact: str) -> str:
    """Return the name in the build folder of an artifact of a variant, empty for none."""
    return f"{variant}.{artifact}" if variant else artifact


def variants_in(folder: Path) -> Iterator[str]:
    """Yield the sorted variants whose manifests are in a build folder.

    A build of a recipe without variants has an empty name.
    """
    for path in sorted(folder.glob(f"*{MANIFEST}")):
        variant = path.name.removesuffix(MANIFEST).removesuffix(".")
        if published_file(variant, MANIFEST) == path.name and _is_variant(variant):
            yield variant


def _is_variant(name: str) -> bool:
    return not name or VARIANT.fullmatch(name) is not None


def unknown_build(where: str | Place, name: BuildName, known: Collection[str]) -> Problem:
    """Return the problem of a build that a recipe does not have, or that is not named in full.

    `known` are the builds of the recipe.
    """
    if name.recipe in known:
        what = f"recipe '{name.recipe}' has no variants"
        return problem(where, what, f"expected '{name.recipe}'")
    if not name.variant:
        return problem(where, f"recipe '{name.recipe}' has variants", one_of(known))
    what = f"recipe '{name.recipe}' has no variant '{name.variant}'"
    return problem(where, what, one_of(known), suggestion(str(name), known))
