"""One build that was sent to an HTTP cache, and projects that start from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenario.conftest import TINY, Scratch

from .cache_server import CacheServer, serving

COUNTED = TINY.replace(
    "def build(width=8):\n",
    "def build(width=8):\n"
    "    from pathlib import Path\n"
    "    with (Path(__file__).parent / 'made').open('a') as stream:\n"
    "        stream.write('x')\n",
)


@dataclass(frozen=True)
class Shared:
    """What one build gave: its store, what the cache was sent, and the build folder."""

    store: Path
    files: dict[str, bytes]
    artifacts: dict[str, bytes]
    output: str

    def key(self, step: str) -> str:
        """Return the name of the entry of a step, such as `cut body.onnx`."""
        return next(
            name
            for name, content in self.files.items()
            if name.startswith("ac/") and json.loads(content)["result"]["origin"][1] == step
        )

    def file(self, step: str, name: str) -> str:
        """Return the name under which the cache has a file of a step."""
        return f"cas/{json.loads(self.files[self.key(step)])['result']['files'][name][0]}"


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


def project_in(folder: Path) -> Scratch:
    """Return a project whose factory counts its calls, with an empty store."""
    project = Scratch(folder / "project", folder / "store")
    project.write("tiny.py", COUNTED)
    project.environment |= {"NO_PROXY": "127.0.0.1", "PARTITION_CORE_REMOTE_TIMEOUT": "20"}
    return project


def configure(project: Scratch, remote: str | Path, more: str = "") -> None:
    project.write("partition.toml", f'remote = "{remote}"\n{more}')


def made(project: Scratch) -> int:
    """Return how often the model was made, and so exported."""
    counter = project.folder / "made"
    return len(counter.read_text()) if counter.exists() else 0


def warnings_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("WARNING: ")]


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
