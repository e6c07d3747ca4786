"""What the modules of the tests need, by what they import, and which of them cost most.

A module also needs what its folder's `conftest.py` does, if it asks for a fixture of that.
A marker says what a test needs; `tests/unit/test_taxonomy.py` holds the rules.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

NEEDS = {
    "torch": ("torch", "mmdet", "mmcv", "mmengine", "partition_core.trace"),
    "builds": ("tests.projects",),
    "browser": ("selenium",),
}
"""For each marker what a module imports, itself or by another one of the tests, that has it."""

COSTLY = {
    "tests/mmdet/test_questions_other_side.py": 180,
    "tests/scenario/test_report_in_a_browser.py": 100,
    "tests/scenario/test_two_stage.py": 90,
    "tests/scenario/test_policies.py": 80,
    "tests/scenario/test_staleness.py": 70,
    "tests/running/test_gray_detector.py": 60,
    "tests/running/test_odd_pictures.py": 40,
    "tests/running/test_commands.py": 40,
    "tests/scenario/test_random_kills.py": 40,
    "tests/scenario/test_random_signals.py": 40,
    "tests/own_code/test_steps.py": 40,
    "tests/mmdet/test_families.py": 40,
    "tests/checkpoints/test_mmdet_checkpoint.py": 40,
    "tests/scenario/test_rebuilding.py": 30,
    "tests/cutting/test_backend_models.py": 30,
    "tests/mmdet/test_detector.py": 30,
    "tests/onnx_source/test_marking_models.py": 30,
    "tests/scenario/test_import_mmdeploy.py": 30,
    "tests/diagnosing/test_command.py": 20,
    "tests/scenario/test_interruptions.py": 20,
    "tests/backends/test_conversions.py": 20,
    "tests/docs/test_readme.py": 10,
    "tests/docs/test_site.py": 10,
}
"""Seconds of a processor, of the modules that take most: they begin first and are not quick."""


@functools.cache
def needs(file: Path) -> frozenset[str]:
    """Return the markers of what a module of the tests needs."""
    conftest = file.with_name("conftest.py")
    asked = _closure(conftest) if conftest.is_file() and _asks(file, conftest) else frozenset()
    found = {name for module in _closure(file) | asked for name in imports(module)}
    return frozenset(
        marker
        for marker, packages in NEEDS.items()
        if any(name == one or name.startswith(f"{one}.") for name in found for one in packages)
    )


def is_quick(file: Path) -> bool:
    """Return whether a module of the tests runs no build, imports no torch and is not costly."""
    return not needs(file) and file.relative_to(ROOT).as_posix() not in COSTLY


def has_quick(folder: Path) -> bool:
    """Return whether a folder of the tests has a module of quick tests."""
    return any(is_quick(file) for file in folder.rglob("test_*.py"))


def _asks(file: Path, conftest: Path) -> bool:
    """Return whether a function in `file` has an argument that is a function of `conftest`."""
    given = {node.name for node in _functions(conftest)}
    asked = {argument.arg for node in _functions(file) for argument in node.args.args}
    return not given.isdisjoint(asked)


def _functions(file: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.FunctionDef)]


@functools.cache
def _closure(file: Path) -> frozenset[Path]:
    """Return the files of the tests that a file imports, by others too, and itself."""
    seen, left = {file}, [file]
    while left:
        new = {path for name in imports(left.pop()) for path in _files_of(name)} - seen
        seen |= new
        left += new
    return frozenset(seen)


def _files_of(name: str) -> Iterator[Path]:
    parts = name.split(".")
    if parts[0] == "tests":
        for end in (len(parts), len(parts) - 1):
            path = ROOT.joinpath(*parts[:end]).with_suffix(".py")
            if path.is_file():
                yield path


@functools.cache
def imports(file: Path) -> frozenset[str]:
    """Return the full names of what a file imports, wherever in it."""
    package = file.parent.relative_to(ROOT).parts
    found = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join((*base, *([node.module] if node.module else ())))
            found |= {start, *(f"{start}.{alias.name}" for alias in node.names)}
    return frozenset(found)
