"""How the tensors at the ends of a segment lie in ncnn: the file beside `.param` and `.bin`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from partition_core.base.errors import Place, RunError

NO_BATCH = 233
"""What ncnn calls the axis of the batch of a tensor that has none."""


@dataclass(frozen=True)
class End:
    """A tensor at an end: ONNX's name, dtype and dims, its blob, and the axis of its batch.

    In ncnn a blob has no such axis, but as many parts as the batch has samples.
    """

    name: str
    dtype: str
    dims: tuple[int | str | None, ...]
    blob: str
    batch_axis: int | None

    def takes(self, shape: Sequence[int]) -> bool:
        """Return whether an array of this shape fits the dims; one without elements does not."""
        return len(shape) == len(self.dims) and all(
            size and (size == dim or not isinstance(dim, int))
            for size, dim in zip(shape, self.dims, strict=True)
        )

    @property
    def batch_index(self) -> int:
        """The axis of the batch as ncnn's functions take it."""
        return NO_BATCH if self.batch_axis is None else self.batch_axis


@dataclass(frozen=True)
class Layout:
    """The inputs and outputs of a segment, in ONNX's order."""

    inputs: tuple[End, ...]
    outputs: tuple[End, ...]

    def renamed(self, names: Mapping[str, str]) -> Layout:
        """Return it with other names for some blobs."""

        def new(ends: Sequence[End]) -> tuple[End, ...]:
            return tuple(replace(end, blob=names.get(end.blob, end.blob)) for end in ends)

        return Layout(new(self.inputs), new(self.outputs))

    def __str__(self) -> str:
        """Return it as JSON, an end on a line."""
        sides = [f"{json.dumps(name)}: [\n{_lines(ends)}\n]" for name, ends in vars(self).items()]
        return f"{{{', '.join(sides)}}}\n"


def read_layout(file: Path) -> Layout:
    """Return the layout in a file; raises RunError."""
    try:
        plain = json.loads(file.read_bytes())
        return Layout(_ends(plain["inputs"]), _ends(plain["outputs"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "it cannot be read as the layout of a segment in ncnn"
        raise RunError.at(Place(str(file)), what, str(error)) from error


def _lines(ends: Sequence[End]) -> str:
    return ",\n".join(json.dumps(asdict(end)) for end in ends)


def _ends(items: Sequence[Any]) -> tuple[End, ...]:
    return tuple(End(**{**item, "dims": tuple(item["dims"])}) for item in items)
