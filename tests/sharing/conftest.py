"""One build that was sent to an HTTP cache, and projects that start from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Scratch

from .cache_server import CacheServer, serving
from .shared import Shared, configure, made, project_in


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Build once, with `remote_write`, against an empty cache."""
    folder = tmp_path_factory.mktemp("shared")
    project = project_in(folder)
    with serving(CacheServer()) as server:
        configure(project, server.url, "remote_write = true\n")
        output = project.built()
        files = dict(server.files)
    assert made(project) == 1
    return Shared(project.store, files, project.artifacts(), output)


@pytest.fixture
def server(shared: Shared) -> Iterator[CacheServer]:
    """A cache that holds the build."""
    with serving(CacheServer(shared.files)) as running:
        yield running


@pytest.fixture
def colleague(tmp_path: Path, server: CacheServer) -> Scratch:
    """A clone of the project on a machine with an empty store that reads from the cache."""
    project = project_in(tmp_path)
    configure(project, server.url)
    return project


@pytest.fixture
def lacking(colleague: Scratch, shared: Shared) -> Scratch:
    """The same, whose store lacks nothing but the segment `body.onnx`."""
    shutil.copytree(shared.store, colleague.store)
    layout = colleague.store / "v1"
    for name in (shared.key("cut body.onnx"), shared.file("cut body.onnx", "body.onnx")):
        kind, digest = name.split("/")
        (layout / kind / digest[:2] / digest).unlink()
    return colleague
