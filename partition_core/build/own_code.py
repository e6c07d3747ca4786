"""The files of this package that decide what a step gives: its module and all that it imports.

Found by reading `import` statements, without importing anything. Each run that opens a recipe
reads them again, so regular expressions find them, in a twentieth of the time of parsing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import partition_core

PACKAGE = Path(partition_core.__file__).parent

READING = "recipe.reader"
"""The module that reads recipes."""
MEASURING = "build.measurements"
"""The module that measures models."""

ASIDE: Mapping[str, str] = {
    "build.exports": "looks up which entries the key of an export has",
    "build.fingerprint_entries": "makes these entries",
    "build.result_checks": "whether a stored result is valid",
    "build.project": "folders and stores, whose content is known by its digest",
    "base.progress": "progress bars",
    "store": "bytes by their digest, verified whenever they are read",
}
"""Modules and packages that steps import but that do not decide their results, and why."""

_DATA: Mapping[str, str] = {
    "recipe.policies": "policies",
    "recipe.schema": "schema",
    "report.layout": "report/page",
    "report.writing": "report/page",
}
"""The folders of files other than code that a module reads."""

_FOR_TYPES = re.compile(r"\nif TYPE_CHECKING:\n(?:(?:[ \t].*)?\n)+")
_OWN = re.compile(r"partition_core((?:\.\w+)*)(?: import (\([^)]*\)|.+))?")
_NAME = re.compile(r"\w+")


def work_of(kind: str) -> str:
    """Return the module that does the work of a kind of step."""
    return f"build.steps.{kind}"


@functools.cache
def code_files(*modules: str, package: Path = PACKAGE) -> Mapping[str, Path]:
    """Return the files that make up `modules`, by their paths in the folder `package`."""
    files = _modules(package)
    closure = closure_of(*modules, package=package)
    labels = [files[name] for name in closure]
    for folder in {_DATA[name] for name in closure if name in _DATA}:
        labels += (_label(path, package) for path in (package / folder).rglob("*.*"))
    return {label: package / label for label in sorted(labels)}


def closure_of(*modules: str, package: Path = PACKAGE) -> frozenset[str]:
    """Return `modules` and what they import, by their dotted names in the package.

    The name of the package itself is empty.
    """
    pending = list(modules)
    closure: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in closure and not _is_aside(name):
            closure.add(name)
            pending += _imported(name, package)
    return frozenset(closure)


def _is_aside(module: str) -> bool:
    """Return whether a module does not decide what a step gives."""
    return any(module == name or module.startswith(f"{name}.") for name in ASIDE)


@functools.cache
def _modules(package: Path) -> Mapping[str, str]:
    """Return the files of the package's modules by name."""
    labels = (_label(path, package) for path in package.rglob("*.py"))
    return {
        label.removesuffix(".py").replace("/", ".").removesuffix("__init__").rstrip("."): label
        for label in labels
    }


def _label(path: Path, package: Path) -> str:
    return path.as_posix()[len(package.as_posix()) + 1 :]


@functools.cache
def _imported(module: str, package: Path) -> frozenset[str]:
    """Return the modules of the package that one of them names, except only for types.

    A string literal counts as an import: it is for `importlib` or Python's option `-m`.
    """
    files = _modules(package)
    text = (package / files[module]).read_text(encoding="utf-8")
    names = {module}
    for match in _OWN.finditer(_FOR_TYPES.sub("\n", text)):
        base = match[1].removeprefix(".")
        names.add(base)
        names.update(f"{base}.{name}".removeprefix(".") for name in _NAME.findall(match[2] or ""))
    return frozenset(part for name in names for part in _prefixes(name) if part in files)


def _prefixes(name: str) -> Iterator[str]:
    """Yield the names of the modules that importing the dotted `name` would run."""
    yield ""
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
