"""A project of a user who has ONNX files and no torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from .projects import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with an empty store."""
    monkeypatch.setenv("PARTITION_CORE_STORE", str(tmp_path / "store"))
    return Project(tmp_path / "project", tmp_path / "store")


@pytest.fixture(autouse=True)
def _no_forks(native_code_here: None) -> None:
    """Run native code in this process: what is built here is built in many."""
