"""A project whose recipe loads a checkpoint, and a server that gives one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenario.conftest import Scratch

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


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def load_from(project: Scratch, checkpoint: str | Path, digest: str, name: str = "tiny") -> None:
    """Let the recipe load a checkpoint in place of its seed."""
    recipe = project.folder / "recipes" / f"{name}.yaml"
    text = recipe.read_text().splitlines()
    index = next(i for i, line in enumerate(text) if line.startswith("  weights:"))
    text[index] = f"  weights: {{checkpoint: '{checkpoint}', sha256: '{digest}'}}"
    recipe.write_text("\n".join(text) + "\n")
