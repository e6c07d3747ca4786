"""What is made once in a run of the tests, whichever of its processes asks for it first."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock


@dataclass(frozen=True)
class Once:
    """Makes folders below one that all processes of a run share."""

    folder: Path

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the folder `name`, which `make` has filled; nobody may write into it."""
        target = self.folder / name
        with FileLock(self.folder / f"{name}.lock"):
            if not target.exists():
                made = self.folder / f"{name}.{os.getpid()}"
                made.mkdir()
                make(made)
                made.rename(target)
        return target
