"""A user's project and a library beside it, and what is followed while a function runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from partition_core.base.digests import Digests
from partition_core.build.dependencies.current import Surroundings
from partition_core.build.dependencies.deducing import Followed, Known, deduced
from partition_core.build.dependencies.installed import owners
from partition_core.build.dependencies.locating import search_path
from partition_core.build.dependencies.watching import watched


@dataclass
class User:
    """Who has a project in `root`, a library in `library` and files in `elsewhere`."""

    root: Path
    library: Path
    elsewhere: Path

    def write(self, name: str, text: str) -> Path:
        """Write a file below the folder that holds all of these."""
        path = self.root.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def around(self) -> Surroundings:
        digests = Digests(self.root.parent / "digests.json")
        return Surroundings(self.root, search_path(), digests, self.root / "build")

    def follow(self, run: Callable[[], object], *roots: str, **known: tuple[str, ...]) -> Followed:
        """Return what is followed while `run` runs."""
        around = self.around()  # as it is when a build starts
        with watched() as watch:
            run()
        given = Known(
            known.get("paths", ()), known.get("packages", ()), known.get("private", ()), roots
        )
        return deduced(watch, around, given)

    def labels(self, run: Callable[[], object], *roots: str) -> list[str]:
        """Return the labels of what is followed; nothing may have changed meanwhile."""
        found = self.follow(run, *roots)
        assert found.changed == ()
        return [label for label, _ in found.entries]

    def texts(self, labels: list[str]) -> list[str]:
        """Return what stands for the subjects of labels now, as the next build finds it."""
        return [text for _, text in self.around().entries(labels)]


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    one = User(tmp_path / "project", tmp_path / "library", tmp_path / "elsewhere")
    for folder in (one.root, one.library, one.elsewhere):
        folder.mkdir()
    monkeypatch.chdir(one.root)
    monkeypatch.syspath_prepend(str(one.library))
    monkeypatch.syspath_prepend(str(one.root))
    owners.cache_clear()
    before = set(sys.modules)
    yield one
    with watched() as watch:
        memory = watch.memory
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    # The names of modules are taken again by the next test.
    for body in [body for body in memory.notes if body.file.startswith(str(tmp_path))]:
        del memory.notes[body]
    for file in [file for file in memory.loaded if file.startswith(str(tmp_path))]:
        memory.imports.pop(Path(file).stem, None)
        memory.imports.pop(Path(file).parent.name, None)
        memory.later.pop(Path(file).stem, None)
