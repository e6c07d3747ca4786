"""A project whose recipe loads a checkpoint, and a server that gives one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Scratch

from .file_server import FileServer, serving


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer()) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Scratch:
    """Return a project with an empty store."""
    project = Scratch(tmp_path / "project", tmp_path / "store")
    project.environment["NO_PROXY"] = "127.0.0.1"
    return project
