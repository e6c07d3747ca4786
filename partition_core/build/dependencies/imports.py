"""The modules that a Python file imports, found by parsing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def imported_names(path: Path, package: tuple[str, ...]) -> Iterator[str]:
    """Yield the dotted names that the imports in the file at `path` of a `package` may mean.

    A name imported from a module is yielded as a submodule, since it may be one.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # importing it will report the error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join((*base, *([node.module] if node.module else [])))
            yield from (f"{prefix}.{alias.name}".lstrip(".") for alias in node.names)
