"""A project: a folder with `recipes/` and `build/`, and the stores that its builds share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.base.build_name import BuildName
from partition_core.base.digests import Digests
from partition_core.base.errors import BuildError, Place, disk_problem
from partition_core.base.folders import BUILD, RECIPES, STATE
from partition_core.base.wording import warn
from partition_core.build.dependencies.current import DependencyState
from partition_core.build.dependencies.locating import search_path
from partition_core.build.settings import Settings, read_settings
from partition_core.store.local import LocalStore
from partition_core.store.tiers import Store

if TYPE_CHECKING:
    from partition_core.store.shared import SharedStore


@dataclass(frozen=True)
class Project:
    """The folders of a project, its store, its files' known digests, and what its models read.

    `dependency_state` has Python's search path as it was before any model changed it.
    """

    root: Path
    settings: Settings
    store: Store
    digests: Digests
    dependency_state: DependencyState

    @classmethod
    def at(cls, root: Path) -> Project:
        """Return the project in the folder `root`; nothing is written.

        Raises BuildError for wrong settings.
        """
        state = root / STATE
        settings = read_settings(root)
        digests = Digests(state / "digests.json")
        store = Store(
            LocalStore(settings.store, warn),
            LocalStore(state / "store", warn),
            _remote(settings, root),
            warn,
        )
        dependency_state = DependencyState(root, search_path(), digests, root / BUILD)
        return cls(root, settings, store, digests, dependency_state)

    @property
    def state(self) -> Path:
        """The folder of caches, which only save time."""
        return self.root / STATE

    def build_folder(self, build: str) -> Path:
        """Return the folder of the artifacts of a build."""
        return self.root / BuildName.of(build).folder

    def artifact_path(self, build: str, artifact: str) -> Path:
        """Return the path of an artifact of a build."""
        return self.root / BuildName.of(build).path(artifact)

    def check_build_folder(self, build: str) -> None:
        """Raise BuildError if the artifacts of a build could not be written; leaves no file."""
        folder = self.build_folder(build)
        existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        try:
            with tempfile.TemporaryFile(dir=existing) as probe:
                probe.write(bytes(1))
        except OSError as error:
            known = disk_problem(error)
            raise BuildError.at(
                Place(BuildName.of(build).folder),
                f"cannot be written: {known.what}",
                known.expected or "expected a folder for the artifacts",
                known.remedy or f"make '{existing}' a folder that you may write to",
            ) from error

    def recipe_path(self, recipe: str) -> Path:
        """Return the file of a recipe."""
        return self.root / RECIPES / f"{recipe}.yaml"


def _remote(settings: Settings, root: Path) -> Callable[[], SharedStore] | None:
    if not settings.remote:
        return None
    # A build that stays on this machine needs no network code.
    from partition_core.store.outage import Outage
    from partition_core.store.transports.by_url import transport_of

    opened, outage = transport_of(settings.remote, root), Outage()

    def remote() -> SharedStore:
        from partition_core.store.shared import SharedStore

        return SharedStore(opened(), settings.remote_write, warn, outage)

    return remote
