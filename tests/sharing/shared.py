"""One build that was sent to an HTTP cache, and projects that start from it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.projects import TINY, Scratch

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


def lose(project: Scratch, shared: Shared, step: str) -> None:
    """Take a step's result, and all that was published, from a project and its store."""
    for name in (shared.key(step), shared.file(step, step.removeprefix("cut "))):
        kind, digest = name.split("/")
        (project.store / "v1" / kind / digest[:2] / digest).unlink()
    shutil.rmtree(project.folder / "build", ignore_errors=True)
