"""The modules that an export used, of all those that the process has loaded, and their caches."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType

from partition_core.build.dependencies.installed import Owners, is_standard
from partition_core.build.dependencies.locating import NAMESPACE, imported_names
from partition_core.build.dependencies.notes import Watch

_OWN = f"{Path(__file__).absolute().parents[2]}{os.sep}"
"""The prefix of the paths of our own files."""

MISSING_MODULE = ""
"""The file of a module that could not be imported."""


class Code:
    """What identifies files of code: a version, or their content."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._known: dict[str, str | None] = {}

    def owner(self, file: str) -> str | None:
        """Return the distribution that owns a file; None if there is none."""
        if file not in self._known:
            is_others = bool(file) and not is_python(file)
            self._known[file] = self._owners.of(file) if is_others else None
        return self._known[file]

    def is_local(self, file: str) -> bool:
        """Return whether a file counts by its content."""
        return bool(file) and not is_python(file) and self.owner(file) is None


def used_modules(watch: Watch, roots: Iterable[str], code: Code) -> Mapping[str, str]:
    """Return `roots` and the modules that they import, directly or not, each with its file.

    Python's modules and our own are left out. The file of a namespace package is `NAMESPACE`, that
    of a module that user code failed to import is `MISSING_MODULE`. A module counts whenever it
    was loaded: another recipe of the same run may have loaded it.
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
    counted = {name: files[name] for name in used if files[name] and not is_python(files[name])}
    local = [name for name in counted if code.is_local(counted[name])]
    namespaces = [
        name
        for name in used
        if not files[name] and any(inside.startswith(f"{name}.") for inside in local)
    ]
    return {
        **counted,
        **dict.fromkeys(namespaces, NAMESPACE),
        **dict.fromkeys(missing, MISSING_MODULE),
    }


def _imports_of(name: str, file: str, watch: Watch, code: Code) -> Collection[str]:
    """Return what a module imported: when it was imported itself, and while this export ran.

    An installed package may import something once and keep it, so its imports count whenever they
    happened.
    """
    if is_standard(file):
        return ()
    memory = watch.memory
    imports = memory.imports.get(name, set()) | watch.imports.get(name, set())
    if name in memory.before:  # its import was not watched
        imports |= _referenced_by(sys.modules[name])
    if code.owner(file) is not None:
        return imports | memory.later.get(name, set())
    if name in memory.before and code.is_local(file):
        package = tuple((getattr(sys.modules[name], "__package__", None) or "").split("."))
        imports |= {each for each in imported_names(Path(file), package) if each in sys.modules}
    return imports


def _referenced_by(module: ModuleType) -> set[str]:
    """Return the modules that a module refers to, or to a class or function of.

    Without a package's own submodules, which any import adds to it. No attribute of another object
    is read: that could run any code.
    """
    names = set()
    for value in list(vars(module).values()):
        kind = type(value)
        if issubclass(kind, ModuleType):
            name = str(getattr(value, "__name__", ""))
            if not name.startswith(f"{module.__name__}."):
                names.add(name)
        elif issubclass(kind, type | FunctionType):
            names.add(str(getattr(value, "__module__", "")))
    return names


def modules_here() -> Iterator[tuple[str, ModuleType]]:
    """Yield the loaded modules with their names, except the main program."""
    for name, module in list(sys.modules.items()):
        if issubclass(type(module), ModuleType) and name != "__main__":
            yield name, module


def file_of(module: ModuleType) -> str:
    """Return the path of a module's file, or of its archive; "" if it has neither."""
    archive = getattr(getattr(module, "__loader__", None), "archive", None)
    file = archive or getattr(module, "__file__", None)
    # Modules of torch's operators have a `__file__` that does not exist.
    return os.path.normpath(file) if isinstance(file, str) and os.path.isabs(file) else ""


def is_python(file: str) -> bool:
    """Return whether a file is Python's own or ours."""
    return file.startswith(_OWN) or is_standard(file)


_CACHED = type(functools.cache(len))


def forget_results(code: Code) -> None:
    """Clear the caches of functions and methods in modules that count by their content.

    A function under `functools.cache` that read a file for one recipe would not read it for the
    next, so that the second recipe's dependency would go unnoticed.
    """
    for _, module in modules_here():
        if code.is_local(file_of(module)):
            _clear(module)


def _clear(owner: ModuleType | type) -> None:
    for value in list(vars(owner).values()):
        # No attribute of another object is read: that could run any code.
        if issubclass(type(value), type) and value is not owner and _is_in(value, owner):
            _clear(value)
        function = value.__func__ if type(value) in (staticmethod, classmethod) else value
        if type(function) is _CACHED:
            function.cache_clear()


def _is_in(inner: type, owner: ModuleType | type) -> bool:
    module = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    return inner.__module__ == module
