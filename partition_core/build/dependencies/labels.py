"""Labels of what an export depends on: a kind and a subject, readable by people. Pure.

A label contains no content and, inside the project and the home folder, no path of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

MODULE = "module"
FILE = "file"
PRESENCE = "presence of"
NAMES = "names in"
AGES = "age order of"
VARIABLE = "variable"
PACKAGE = "package"
KINDS = (MODULE, FILE, PRESENCE, NAMES, AGES, VARIABLE, PACKAGE)
"""In the order of a fingerprint."""

_HOME = "~"


def parsed(label: str) -> tuple[str, str] | None:
    """Return the kind and the subject of a label, None for other text."""
    return next(
        ((kind, label[len(kind) + 1 :]) for kind in KINDS if label.startswith(f"{kind} ")), None
    )


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels sorted by kind and subject, each once."""
    ranks = {kind: rank for rank, kind in enumerate(KINDS)}

    def position(label: str) -> tuple[int, str]:
        parts = parsed(label)
        return (ranks[parts[0]], parts[1]) if parts else (len(ranks), label)

    return tuple(sorted(set(labels), key=position))


def path_text(path: str, root: Path) -> str:
    """Return a path as labels write it: relative to the project or the home folder if inside."""
    if Path(path).is_relative_to(root):
        inside = Path(path).relative_to(root).as_posix()
        return f"./{inside}" if inside.startswith(_HOME) else inside
    home = os.path.expanduser(_HOME)
    if Path(path).is_relative_to(home):
        return f"{_HOME}/{Path(path).relative_to(home).as_posix()}"
    return path


def path_of(text: str, root: Path) -> str:
    """Return the absolute path of a text that `path_text` returned."""
    return os.path.abspath(root / os.path.expanduser(text))
