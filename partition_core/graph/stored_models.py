"""Stored models: an ONNX file and, unless its weights are in it, the file that holds them.

The two are one artifact. The file with the weights is named by its content, and the model refers
to it by that name: whichever of the two is replaced first, each model finds its own weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.recipe.values import WeightsPlacement
from partition_core.store.entry import StoredFile

if TYPE_CHECKING:
    from partition_core.graph.files import DataPlacement

END2END_PLACEMENTS: Mapping[WeightsPlacement, DataPlacement] = {
    "inline": "inline",
    "external": "external",
    "shared": "external",
}
"""Where the end2end model's weights are, for each value of `export.weights`."""

_ENDING = ".data"
_SHARED = f"weights{_ENDING}"
_PUBLISHED = re.compile(r"(weights|.*\.onnx)\.[0-9a-f]{16}\.data")


@dataclass(frozen=True)
class StoredModel:
    """A model in the store; `weights` is the file that holds its weights, `weights_name` the
    model's name for it; None and empty if the weights are in the model itself."""

    file: StoredFile
    weights: StoredFile | None = None
    weights_name: str = ""


def weights_file(placement: WeightsPlacement, model: str) -> str:
    """Return the name, among the files of a step, of the weights of `model`; empty for inline."""
    return {"inline": "", "external": f"{model}{_ENDING}", "shared": _SHARED}[placement]


def stored_model(file: StoredFile, weights: StoredFile | None, name: str) -> StoredModel:
    """Return a model with its `weights`, a file of its step called `name`.

    The weights file of a model without large weights is empty, and not an artifact.
    """
    if weights is None or weights.size == 0:
        return StoredModel(file)
    return StoredModel(file, weights, published_name(name, weights.digest))


def published_weights(folder: Path, model: str | None = None) -> Iterator[Path]:
    """Yield the weights files in a build folder, also those of former builds.

    All of them, or only those of `model`.
    """
    for path in sorted(folder.glob(f"*{_ENDING}")):
        match = _PUBLISHED.fullmatch(path.name)
        if match and model in (None, match[1]):
            yield path


def published_name(name: str, digest: str) -> str:
    """Return the name in a build folder of a weights file that its step calls `name`."""
    return f"{name.removesuffix(_ENDING)}.{digest[:16]}{_ENDING}"
