"""The build that the tests share, and a second backend for as long as a test runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from partition_core import backends
from partition_core.backends import backend

from .build import Build, built


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return built(tmp_path_factory.mktemp("build"))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a room and its row to the backends."""
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(Path(__file__).parent)])
    monkeypatch.setattr(backend, "BACKENDS", (*backend.BACKENDS, "toy"))
