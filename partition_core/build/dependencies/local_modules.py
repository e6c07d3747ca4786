"""The user's Python files behind a dotted name, found without importing them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from partition_core.build.dependencies.locating import imported_names


def local_modules(names: list[str], root: Path) -> tuple[list[Path], list[Path]]:
    """Return the files below `root` that the dotted `names` are in, and those they import.

    A name may continue after the module (`package.module.Class.method`). Files of installed
    packages are left out: their versions count. The second list has the paths without a file; a
    file that appears at one of them changes the first list.
    """
    exists: dict[Path, bool] = {}
    pending = list(dict.fromkeys(names))
    visited = set(pending)
    while pending:
        for path, is_file in _candidates(pending.pop(), root):
            if path not in exists and is_file:
                new = [
                    name
                    for name in imported_names(path, path.relative_to(root).parent.parts)
                    if name not in visited
                ]
                visited.update(new)
                pending += new
            exists[path] = is_file
    existing = sorted(path for path, is_file in exists.items() if is_file)
    return existing, sorted(path for path, is_file in exists.items() if not is_file)


def _candidates(name: str, root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the possible module and package files of the dotted `name`, and whether they exist."""
    folder = root
    for step in name.split("."):
        module, package = folder / f"{step}.py", folder / step / "__init__.py"
        yield package, package.is_file()
        if not package.is_file():  # Python prefers a package to a module of the same name
            yield module, module.is_file()
            if module.is_file():
                return
        folder /= step
        if not folder.is_dir():
            yield folder, False
            return
