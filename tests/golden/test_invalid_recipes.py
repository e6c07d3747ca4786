"""Each invalid recipe beside its exact message; this file, run by itself, writes the messages.

After a change of words: `python tests/golden/test_invalid_recipes.py`, then review the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from partition_core.base.errors import RecipeError
from partition_core.recipe.reader import read_recipe

FOLDER = Path(__file__).parent / "invalid_recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))


def message(recipe: Path) -> str:
    """Return what the reader says about a recipe, or an empty text if it finds nothing wrong."""
    try:
        read_recipe(recipe, FOLDER)
    except RecipeError as error:
        return f"{error}\n"
    return ""


def expected_file(recipe: Path) -> Path:
    """Return the file that holds the message of a recipe."""
    return recipe.with_suffix(".expected.txt")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_an_invalid_recipe_gets_exactly_its_message(recipe: Path) -> None:
    assert message(recipe), "the recipe is not invalid"
    assert message(recipe) == expected_file(recipe).read_text(encoding="utf-8")


def test_no_message_is_left_without_its_recipe() -> None:
    expected = {expected_file(recipe) for recipe in RECIPES}
    assert set(FOLDER.glob("*.expected.txt")) == expected


def regenerate() -> None:
    """Write the messages of all invalid recipes, and remove those without a recipe."""
    for old in FOLDER.glob("*.expected.txt"):
        old.unlink()
    for recipe in RECIPES:
        expected_file(recipe).write_text(message(recipe), encoding="utf-8")


if __name__ == "__main__":
    regenerate()
