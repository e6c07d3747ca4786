"""Finds mmdet's config files and their bases; imports neither mmdet nor torch."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from partition_core.base.errors import ExportError, suggestion

INSTALLATION = "pip install 'partition-core[mmdet]'"


def shipped_configs() -> Path | None:
    """Return the folder of the configs that the installed mmdet ships, None without mmdet."""
    spec = importlib.util.find_spec("mmdet")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / ".mim" / "configs"


def find_config(config: str, root: Path, place: str) -> Path:
    """Return the file of `config`: a path below `root` (or absolute), or one that mmdet ships.

    Raises ExportError, with the nearest shipped name, if there is no such file.
    """
    shipped = shipped_configs()
    for folder in (root, shipped):
        if folder is not None and (folder / config).is_file():
            return folder / config
    known = (
        [path.relative_to(shipped).as_posix() for path in shipped.rglob("*.py")] if shipped else []
    )
    raise ExportError.at(
        place,
        f"no config '{config}'",
        "expected a file below the project's folder or one that mmdet ships"
        if shipped
        else "mmdet is not installed, so there are no shipped configs",
        suggestion(config, known) if shipped else f"install it with `{INSTALLATION}`",
    )


def config_closure(config: Path) -> list[Path]:
    """Return `config` and every file it inherits from, each once, bases first.

    Follows `_base_` and `with read_base():` without running the files.
    """
    closure: dict[Path, None] = {}

    def visit(path: Path) -> None:
        path = path.resolve()
        if path in closure or not path.is_file():
            return
        for base in _bases(path):
            visit(base)
        closure[path] = None

    visit(config)
    return list(closure)


def config_label(path: Path) -> str:
    """Return a name for a config file without folders of this machine."""
    shipped = shipped_configs()
    if shipped is not None and path.is_relative_to(shipped.resolve()):
        return f"mmdet/{path.relative_to(shipped.resolve()).as_posix()}"
    return path.name


def _bases(path: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # loading the config will report the error
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "_base_" for target in node.targets
        ):
            yield from (_base_file(path, text) for text in _texts(node.value))
        elif isinstance(node, ast.ImportFrom) and node.level:
            steps = (node.module or "").split(".")
            yield path.parents[node.level - 1].joinpath(*steps).with_suffix(".py")


def _texts(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _base_file(path: Path, text: str) -> Path:
    shipped = shipped_configs()
    if "::" in text and shipped is not None:
        return shipped / text.split("::", 1)[1]
    return path.parent / text
