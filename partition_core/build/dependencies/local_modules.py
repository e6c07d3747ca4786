"""The user's own Python files behind a dotted name, found without importing them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from partition_core.build.dependencies.imports import imported_names


def local_modules(names: list[str], root: Path) -> tuple[list[Path], list[Path]]:
    """Return the files below `root` that the dotted `names` are in, and those they import.

    A name may go on after the module (`package.module.Class.method`). Files of installed
    packages are not among them: their versions stand for those. The second list has the places
    at which a file was looked for in vain; one that appears there changes the first.
    """
    found: dict[Path, bool] = {}
    pending = list(dict.fromkeys(names))
    asked = set(pending)
    while pending:
        for path, is_there in _places(pending.pop(), root):
            if path not in found and is_there:
                new = [
                    name
                    for name in imported_names(path, path.relative_to(root).parent.parts)
                    if name not in asked
                ]
                asked.update(new)
                pending += new
            found[path] = is_there
    there = sorted(path for path, is_there in found.items() if is_there)
    return there, sorted(path for path, is_there in found.items() if not is_there)


def _places(name: str, root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the module and package files on the way along the dotted `name`, and if they are."""
    here = root
    for step in name.split("."):
        module, package = here / f"{step}.py", here / step / "__init__.py"
        yield package, package.is_file()
        if not package.is_file():  # Python takes a package before a module of the same name
            yield module, module.is_file()
            if module.is_file():
                return
        here /= step
        if not here.is_dir():
            yield here, False
            return
