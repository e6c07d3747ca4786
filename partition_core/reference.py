"""The file of eager results that an export leaves for the proof: named arrays, no code in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from partition_core.disk import writing

Array = np.ndarray[Any, Any]


def save_reference(arrays: Mapping[str, Array], target: Path) -> None:
    """Write `arrays` to `target` by name; equal arrays give equal bytes."""
    with writing(target), target.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load_reference(path: Path) -> dict[str, Array]:
    """Return the arrays in the file at `path` by name, in the order in which they were saved."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
