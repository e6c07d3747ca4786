"""A user's project and a library beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from partition_core.build.dependencies.installed import owners
from partition_core.build.dependencies.watching import watched

from .user import User


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
