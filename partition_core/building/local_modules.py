"""The user's own Python files behind a dotted name, found without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def local_modules(names: list[str], root: Path) -> list[Path]:
    """Return the files below `root` that the dotted `names` are in, and those they import.

    A name may go on after the module (`package.module.Class.method`). Files of installed
    packages are not among them: their versions stand for those.
    """
    found: dict[Path, None] = {}
    pending = list(names)
    while pending:
        for path in _files(pending.pop(), root):
            if path not in found:
                found[path] = None
                pending += _imports(path, root)
    return sorted(found)


def _files(name: str, root: Path) -> Iterator[Path]:
    """Yield the package files and the module file on the way along the dotted `name`."""
    here = root
    for step in name.split("."):
        if (module := here / f"{step}.py").is_file():
            yield module
            return
        here /= step
        if (package := here / "__init__.py").is_file():
            yield package
        elif not here.is_dir():
            return


def _imports(path: Path, root: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # importing it will say what is wrong with it
    package = path.relative_to(root).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join((*base, *([node.module] if node.module else [])))
            yield from (f"{prefix}.{alias.name}".lstrip(".") for alias in node.names)
