"""The tree of the package: few names at its top, no circle of rooms, a map that is true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "partition_core"
MAP = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
DATA = {"policies", "schema", "py.typed"}


def layers() -> dict[str, Any]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (found,) = (
        one for one in config["tool"]["importlinter"]["contracts"] if one["type"] == "layers"
    )
    return dict(found)


def rooms() -> set[str]:
    return {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def section(title: str) -> list[list[str]]:
    """Return the rows of the table below a heading of the map, without its own heading."""
    text = MAP.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def ticked(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_top_has_at_most_sixteen_names() -> None:
    # What Python compiled in a folder that is gone may be left of it.
    names = {
        path.name
        for path in PACKAGE.iterdir()
        if path.is_file() or any(one.suffix != ".pyc" for one in path.rglob("*.*"))
    } - DATA
    assert names == {*rooms(), "__init__.py", "tasks.py"}
    assert len(names) <= 16


@pytest.fixture(scope="module")
def imports() -> set[tuple[str, str]]:
    """Return which module imports which."""
    graph = grimp.build_graph("partition_core", cache_dir=None)
    return {
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }


@pytest.mark.parametrize("inside", ["", "sources", "store", "build", "backends", "graph"])
def test_no_rooms_import_each_other_in_a_circle(imports: set[tuple[str, str]], inside: str) -> None:
    start = ".".join(["partition_core", *([inside] if inside else [])])

    def room(module: str) -> str | None:
        name = module.removeprefix(f"{start}.").partition(".")[0]
        is_room = module.startswith(f"{start}.")
        return name if is_room and (ROOT / start.replace(".", "/") / name).is_dir() else None

    edges: dict[str, set[str]] = {}
    for importer, imported in imports:
        one, other = room(importer), room(imported)
        if one and other and one != other:
            edges.setdefault(one, set()).add(other)
    assert edges or inside
    while free := {one for one in edges if not edges[one] & edges.keys()}:
        edges = {one: others for one, others in edges.items() if one not in free}
    assert edges == {}


def test_a_backend_is_reached_by_its_module_backend_alone(imports: set[tuple[str, str]]) -> None:
    start = "partition_core.backends."
    inside = {
        (importer, imported)
        for importer, imported in imports
        if imported.startswith(start) and imported.removeprefix(start).count(".")
    }
    outside = {pair for pair in inside if not pair[0].startswith(start)}
    assert inside > outside != set()
    assert {imported.rpartition(".")[2] for _, imported in outside} == {"backend"}
    # Nor does a backend know another one, or what they share one of them.
    rooms = [[name.split(".")[2] for name in pair] for pair in inside - outside]
    assert [pair for pair in rooms if len(set(pair)) > 1] == []


def test_no_import_may_go_up() -> None:
    assert "ignore_imports" not in layers()


def test_the_map_has_the_floors_of_the_contract() -> None:
    floors = [set(ticked(row[1])) for row in section("Floors")]
    assert floors == [{one.strip() for one in layer.split("|")} for layer in layers()["layers"]]
    assert set.union(*floors) == {*rooms(), "tasks"}


def paths() -> Iterator[str]:
    """Yield the paths that the map names in its table of changes, from the top of the package.

    A name without a folder is in that of the path before it.
    """
    for _, cell in section("Where does a change belong?"):
        folder = ""
        for name in ticked(cell):
            folder = name.rpartition("/")[0] or folder
            yield name if "/" in name else f"{folder}/{name}"


def test_every_path_of_the_map_is_there() -> None:
    named = [re.sub(r"<\w+>", "*", path) for path in paths()]
    assert len(named) > 50
    gone = [
        path
        for path in named
        if not any(
            next(PACKAGE.glob(pattern), None)
            for pattern in (path.rstrip("/"), f"{path.rstrip('/')}.py")
        )
    ]
    assert gone == []
