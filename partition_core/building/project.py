"""A project: a folder with `recipes/` and `build/`, and the stores that its builds share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from partition_core.building.settings import Settings, read_settings
from partition_core.disk import Digests
from partition_core.errors import Place, RecipeError, one_of, problem, suggestion
from partition_core.reading.recipe_names import recipe_names
from partition_core.store.local import LocalStore
from partition_core.store.tiers import Remote, Store

RECIPES = "recipes"
BUILD = "build"
STATE = ".partition"


@dataclass(frozen=True)
class Project:
    """The folders of a project, its store and the digests known of its files."""

    root: Path
    settings: Settings
    store: Store
    digests: Digests

    @classmethod
    def at(cls, root: Path) -> Project:
        """Return the project in the folder `root`; nothing is made on the disk.

        Raises BuildError for wrong settings.
        """
        state = root / BUILD / STATE
        settings = read_settings(root)
        digests = Digests(state / "digests.json")
        store = Store(
            LocalStore(settings.store, digests, warn),
            LocalStore(state / "store", digests, warn),
            _remote(settings, root),
            warn,
        )
        return cls(root, settings, store, digests)

    @property
    def state(self) -> Path:
        """The folder of what only saves time: everything in it may be deleted at any moment."""
        return self.root / BUILD / STATE

    def build_folder(self, recipe: str) -> Path:
        """Return the folder of the artifacts of a recipe."""
        return self.root / BUILD / recipe

    def recipe_path(self, recipe: str) -> Path:
        """Return the file of a recipe."""
        return self.root / RECIPES / f"{recipe}.yaml"

    def chosen_recipes(self, chosen: str | None) -> list[str]:
        """Return the names of the recipes that `chosen` lists, with commas between; None: all.

        Raises RecipeError for a name that is unknown and for a project without recipes.
        """
        known = recipe_names(self.root / RECIPES)
        if not known:
            raise RecipeError(
                problem(
                    Place(f"{RECIPES}/"),
                    "there is no recipe",
                    f"expected at least one file '{RECIPES}/<name>.yaml'",
                    "see the README for a first recipe",
                )
            )
        if chosen is None:
            return known
        names = [name.strip() for name in chosen.split(",") if name.strip()]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise RecipeError(
                *(
                    problem(
                        f"recipe={chosen}",
                        f"there is no recipe '{name}'",
                        one_of(known),
                        suggestion(name, known),
                    )
                    for name in unknown or [chosen]
                )
            )
        return list(dict.fromkeys(names))


def warn(message: str) -> None:
    """Tell the user of something that the build goes on without."""
    print(f"WARNING: {message}", file=sys.stderr, flush=True)


def _remote(settings: Settings, root: Path) -> Callable[[], Remote] | None:
    if not settings.remote:
        return None
    # What moves bytes over a network is not needed by a build that stays on this machine.
    from partition_core.store.outage import Outage
    from partition_core.store.transports import transport_of

    opened, outage = transport_of(settings.remote, root), Outage()

    def remote() -> Remote:
        from partition_core.store.remote import SharedStore

        return SharedStore(opened(), settings.remote_write, warn, outage)

    return remote
