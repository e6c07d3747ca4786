"""What the files of our package import, by Python's own parser."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = "partition_core"


def own_imports(file: Path, package: Path) -> set[str]:
    """Return the modules of the package that running a file of it may import, "" for itself."""
    found = set()
    for name in _names(file, package):
        if f"{name}.".startswith(f"{ROOT}."):
            parts = name.split(".")[1:]
            found |= {".".join(parts[:end]) for end in range(len(parts) + 1)}
    return {name for name in found if _is_module(package.joinpath(*name.split(".")))}


def foreign_imports(file: Path, package: Path) -> set[str]:
    """Return the packages of others that a file imports, without Python's own."""
    names = {name.partition(".")[0] for name in _names(file, package)}
    return names - {ROOT} - set(sys.stdlib_module_names)


def distributions(package: str) -> set[str]:
    """Return the names under which what can be imported as `package` is installed."""
    return {name.lower().replace("_", "-") for name in _DISTRIBUTIONS.get(package, ())}


_DISTRIBUTIONS = importlib.metadata.packages_distributions()


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _names(file: Path, package: Path) -> Iterator[str]:
    here = (ROOT, *file.relative_to(package).parent.parts)
    for node in _run(ast.parse(file.read_bytes())):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = here[: len(here) - node.level + 1] if node.level else ()
                start = ".".join((*base, *([node.module] if node.module else [])))
                yield from (start, *(f"{start}.{alias.name}" for alias in node.names))
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(str(name))]):
                yield name
            case ast.Constant(str(name)) if name.startswith(f"{ROOT}."):
                yield name


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a file without what is there for types alone."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _run(child)
