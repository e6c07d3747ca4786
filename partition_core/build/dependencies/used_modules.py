"""Which modules an export used, of all those that a process has loaded by then."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType

from partition_core.build.dependencies.imports import imported_names
from partition_core.build.dependencies.installed import Owners, is_standard
from partition_core.build.dependencies.locating import NAMESPACE
from partition_core.build.dependencies.notes import Watch

_OWN = f"{Path(__file__).absolute().parents[2]}{os.sep}"
"""What the paths of our own files start with."""

NOT_THERE = ""
"""In the place of the file of a module that was asked for in vain."""


class Code:
    """What stands for files of code: a version, or their content."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._known: dict[str, str | None] = {}

    def owner(self, file: str) -> str | None:
        """Return the distribution whose version stands for a file; None without."""
        if file not in self._known:
            is_others = bool(file) and not is_python(file)
            self._known[file] = self._owners.of(file) if is_others else None
        return self._known[file]

    def is_local(self, file: str) -> bool:
        """Return whether a file counts by its content."""
        return bool(file) and not is_python(file) and self.owner(file) is None


def used_modules(watch: Watch, roots: Iterable[str], code: Code) -> Mapping[str, str]:
    """Return the modules that `roots` and what they import consist of, each with its file.

    Those of Python and our own are left out. The file of a package without one is `NAMESPACE`,
    that of a module that a user's code asked for in vain is `NOT_THERE`. A module counts if it
    was loaded meanwhile or before: another recipe of the same run may have loaded it.
    """
    files = {name: file_of(module) for name, module in modules_here()}
    names = {file: name for name, file in files.items() if file}
    new = (names[source] for source in watch.loaded if source in names and code.is_local(source))
    pending, used = [*roots, *new], set[str]()
    missing: set[str] = set()
    while pending:
        name = pending.pop()
        if name in used or name not in files:
            continue
        used.add(name)
        imports = _imports_of(name, files[name], watch, code)
        if code.is_local(files[name]):
            missing |= {target for target in imports if target not in files}
        pending += [name.rpartition(".")[0], *imports]
    found = {name: files[name] for name in used if files[name] and not is_python(files[name])}
    local = [name for name in found if code.is_local(found[name])]
    spaces = [
        name
        for name in used
        if not files[name] and any(inside.startswith(f"{name}.") for inside in local)
    ]
    return {**found, **dict.fromkeys(spaces, NAMESPACE), **dict.fromkeys(missing, NOT_THERE)}


def _imports_of(name: str, file: str, watch: Watch, code: Code) -> Collection[str]:
    """Return what a module imported: when it was imported itself, and while this export ran.

    An installed package may import something once and remember that; so of those it counts
    whenever it was.
    """
    if is_standard(file):
        return ()
    memory = watch.memory
    found = memory.imports.get(name, set()) | watch.imports.get(name, set())
    if name in memory.before:  # nobody looked when it was imported
        found |= _held_by(sys.modules[name])
    if code.owner(file) is not None:
        return found | memory.later.get(name, set())
    if name in memory.before and code.is_local(file):
        package = tuple((getattr(sys.modules[name], "__package__", None) or "").split("."))
        found |= {one for one in imported_names(Path(file), package) if one in sys.modules}
    return found


def _held_by(module: ModuleType) -> set[str]:
    """Return the modules that a module holds, or holds a class or function of.

    Not those inside a package that it holds only since somebody imported them. Of other objects
    nothing is asked: they may do anything in answer.
    """
    found = set()
    for value in list(vars(module).values()):
        kind = type(value)
        if issubclass(kind, ModuleType):
            name = str(getattr(value, "__name__", ""))
            if not name.startswith(f"{module.__name__}."):
                found.add(name)
        elif issubclass(kind, type | FunctionType):
            found.add(str(getattr(value, "__module__", "")))
    return found


def modules_here() -> Iterator[tuple[str, ModuleType]]:
    """Yield the modules that Python has loaded, but for the program itself, with their names."""
    for name, module in list(sys.modules.items()):
        if issubclass(type(module), ModuleType) and name != "__main__":
            yield name, module


def file_of(module: ModuleType) -> str:
    """Return the path of a module's file, or of the archive that it is in; "" without."""
    archive = getattr(getattr(module, "__loader__", None), "archive", None)
    file = archive or getattr(module, "__file__", None)
    # Those of torch's operators claim a file that is none.
    return os.path.normpath(file) if isinstance(file, str) and os.path.isabs(file) else ""


def is_python(file: str) -> bool:
    """Return whether a file is Python's own or ours."""
    return file.startswith(_OWN) or is_standard(file)
