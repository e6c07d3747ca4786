"""The names of the recipes in a folder; imports nothing of the package and no library."""

from __future__ import annotations

from pathlib import Path


def recipe_names(folder: Path) -> list[str]:
    """Return the sorted stems of the folder's `*.yaml` files; none if there is no folder."""
    return sorted(path.stem for path in folder.glob("*.yaml") if not path.name.startswith("."))
