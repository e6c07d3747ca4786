"""The names of the recipes in a folder; imports nothing of the package and no library."""

from __future__ import annotations

import re
from pathlib import Path

_IS_RECIPE = (re.compile(r"^model\s*:", re.MULTILINE), re.compile(r"^partition\s*:", re.MULTILINE))
_EXTENDS = re.compile(r"^extends\s*:\s*['\"]?([^\s'\"#]+)", re.MULTILINE)


_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def is_reserved_on_windows(name: str) -> bool:
    """Return whether Windows reserves a file name for a device, or drops the dot at its end.

    Source: Microsoft, "Naming Files, Paths, and Namespaces".
    """
    return bool(_DEVICES.fullmatch(name)) or name.endswith(".")


def recipe_names(folder: Path) -> list[str]:
    """Return the sorted stems of the folder's `*.yaml` files; none if there is no folder."""
    return sorted(path.stem for path in folder.glob("*.yaml") if not path.name.startswith("."))


def overlooked(folder: Path) -> list[str]:
    """Return the files that look like recipes but are not read, as sorted paths in the folder.

    Those are `*.yml`, and recipes in subfolders, except those that a recipe extends.
    """
    used: set[Path] = set()
    for path in folder.glob("*.yaml"):
        used.update((folder / name).resolve() for name in _EXTENDS.findall(_text(path)))
    below = [*folder.glob("*.yml"), *folder.glob("*/**/*.yaml"), *folder.glob("*/**/*.yml")]
    paths = [path for path in below if path.resolve() not in used and _looks_like_recipe(path)]
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _looks_like_recipe(path: Path) -> bool:
    text = _text(path)
    return all(key.search(text) for key in _IS_RECIPE)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, ValueError):
        return ""
