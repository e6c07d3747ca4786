"""Measures how much a model enlarges rounding, to tell that from a wrong graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from partition_core.base.arrays import Arrays
from partition_core.base.errors import PartitionError
from partition_core.graph.file.byte_mover import write_pieces
from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_writer import write_model
from partition_core.graph.file.tensor_writers import Changed
from partition_core.graph.file.value_type import DTYPES
from partition_core.proof.comparison import change
from partition_core.proof.observed import Observed, Whole

_LARGEST = 1 << 30
_ENLARGED = 10
"""How often the measured effect of rounding may be in a difference that it explains."""
_ROUNDED = ("float32", "float64")


@dataclass(frozen=True)
class RoundingEffect:
    """What end2end gives for `samples` if its weights change by at most their last bits.

    `wholes` is what it gives as it is. It runs again when first asked.
    """

    observed: Observed
    model: Model
    samples: Sequence[Arrays]
    wholes: Sequence[Whole]
    scratch: Path

    def explanation(self, sample: int, name: str, difference: float) -> str:
        """Return whether rounding explains that a tensor differs by `difference` in a sample.

        `name` is that of an output or a mark reference. Empty if it cannot be measured.
        """
        if self._rounded is None:
            return ""
        own = change(_tensors(self._rounded[sample])[name], _tensors(self.wholes[sample])[name])
        if not math.isfinite(own + difference):
            return ""
        measured = (
            f"with weights changed by their last bit end2end differs from itself by {own:.2g}"
        )
        if difference <= _ENLARGED * own:
            return f"{measured}: the model enlarges rounding so; allow it by 'proof.tolerance'"
        return f"{measured} there: rounding does not explain the difference"

    @cached_property
    def _rounded(self) -> Sequence[Whole] | None:
        weights = [value.tensor for value in self.model.graph.initializers if value.tensor]
        if self.observed.draws or sum(tensor.nbytes for tensor in weights) > _LARGEST:
            return None
        folder = self.scratch / "rounding"
        folder.mkdir()
        last_bits = LastBits()
        pieces = write_model(self.model, Changed(self.model.folder, last_bits))
        if not last_bits.changed:
            return None
        write_pieces(pieces, folder / "changed.onnx")
        try:
            return replace(self.observed, file=folder / "changed.onnx").runs(self.samples, folder)
        except PartitionError:
            return None


class LastBits:
    """Changes about half of some floats towards 0 by their last bit; `changed` counts them.

    Whole and half numbers stay: a step further they might be other indices or bins.
    """

    def __init__(self) -> None:
        self.changed = 0
        self._random = np.random.default_rng(0)

    def __call__(self, dtype: int, content: bytes) -> bytes:
        """Return the changed bytes of a tensor of the ONNX type `dtype`."""
        if DTYPES.get(dtype) not in _ROUNDED:
            return content
        values = np.frombuffer(content, DTYPES[dtype])
        with np.errstate(over="ignore", invalid="ignore"):
            changes = np.isfinite(values) & (values * 2 != np.round(values * 2))
        changes &= self._random.random(values.shape) < 0.5
        self.changed += int(changes.sum())
        return np.where(changes, np.nextafter(values, values.dtype.type(0)), values).tobytes()


def _tensors(whole: Whole) -> Arrays:
    return {**whole.outputs, **whole.marks}
