"""Where a module would be imported from, and what it imports, found without importing it."""

from __future__ import annotations

import ast
import importlib.machinery
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

NAMESPACE = "namespace"

_SUFFIXES = (
    *importlib.machinery.EXTENSION_SUFFIXES,
    *importlib.machinery.SOURCE_SUFFIXES,
    *importlib.machinery.BYTECODE_SUFFIXES,
)
"""In the order in which Python prefers them."""


class Location(NamedTuple):
    """The file of a module, or `NAMESPACE` for a package without one.

    `before` are paths at which a new file would be imported instead.
    """

    file: str
    before: tuple[str, ...]


def search_path() -> tuple[str, ...]:
    """Return the folders in which Python looks for modules now."""
    # An entry that is not a folder may be a name that some finder knows.
    return tuple(
        os.path.abspath(entry) if not entry or os.path.isdir(entry) else entry for entry in sys.path
    )


def locate(name: str, search: Sequence[str]) -> Location | None:
    """Return the location of the module called `name`, with `search` instead of `sys.path`.

    None if Python would not find it, or if it has no file.
    """
    folders: Sequence[str] | None = None
    spec: ModuleSpec | None = None
    walked = ""
    for step in name.split("."):
        walked = f"{walked}.{step}" if walked else step
        spec = _spec(walked, search, folders)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
        if folders is None and walked != name:
            return None
    if spec is None:
        return None
    if spec.origin is None or not spec.has_location:
        return Location(NAMESPACE, ()) if folders is not None else None
    # For a module in an archive, the archive counts.
    file = str(getattr(spec.loader, "archive", spec.origin))
    return Location(file, tuple(_before(file, walked.rpartition(".")[2])))


def candidate_paths(name: str, root: str) -> Iterator[str]:
    """Yield the paths at which Python would find a new module in the folder `root`."""
    step = os.path.join(root, name.partition(".")[0])
    yield step
    yield from (f"{step}{suffix}" for suffix in _SUFFIXES)
    if os.path.isdir(step):
        yield from (os.path.join(step, f"__init__{suffix}") for suffix in _SUFFIXES)


def _spec(name: str, search: Sequence[str], folders: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            if finder is PathFinder:
                path = list(search) if folders is None else list(folders)
                spec = PathFinder.find_spec(name, path)
            else:
                spec = finder.find_spec(name, folders)
        except (ImportError, AttributeError, TypeError, ValueError):
            continue  # a finder that knows only its own names
        if spec is not None:
            return spec
    return None


def _before(file: str, step: str) -> Iterator[str]:
    """Yield the paths beside a module's file that Python prefers to it."""
    is_package = os.path.basename(file).split(".")[0] == "__init__" and step != "__init__"
    stem = os.path.join(os.path.dirname(file), "__init__" if is_package else step)
    own = [f"{stem}{suffix}" for suffix in _SUFFIXES]
    if not is_package:
        # Python prefers a package to a module of the same name.
        if os.path.isdir(stem):
            own = [*(os.path.join(stem, f"__init__{suffix}") for suffix in _SUFFIXES), *own]
        else:
            own = [stem, *own]
    yield from own[: own.index(file)] if file in own else own


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
