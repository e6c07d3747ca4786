"""A user's project and a library beside it, and what is followed while a function runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.digests import Digests
from partition_core.build.dependencies.current import DependencyState
from partition_core.build.dependencies.deducing import Followed, KnownInputs, deduced
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

    def state(self) -> DependencyState:
        digests = Digests(self.root.parent / "digests.json")
        return DependencyState(self.root, search_path(), digests, self.root / "build")

    def follow(self, run: Callable[[], object], *roots: str, **known: tuple[str, ...]) -> Followed:
        """Return what is followed while `run` runs."""
        state = self.state()  # as it is when a build starts
        with watched() as watch:
            run()
        given = KnownInputs(
            known.get("paths", ()), known.get("packages", ()), known.get("private", ()), roots
        )
        return deduced(watch, state, given)

    def labels(self, run: Callable[[], object], *roots: str) -> list[str]:
        """Return the labels of what is followed; nothing may have changed meanwhile."""
        found = self.follow(run, *roots)
        assert found.changed == ()
        return [label for label, _ in found.entries]

    def texts(self, labels: list[str]) -> list[str]:
        """Return what stands for the subjects of labels now, as the next build finds it."""
        return [text for _, text in self.state().entries(labels)]
