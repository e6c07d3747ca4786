"""What a backend is: each room here has one in its module `backend`, named in a row of the table.

A backend is a value; how it runs a segment is in its fields. Importing it is cheap: what it runs
with is imported when it loads a segment.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from partition_core.base.errors import RunError, one_of, suggestion

if TYPE_CHECKING:
    from partition_core.base.arrays import Array


BACKENDS = ("onnxruntime",)
"""The rooms, whose modules `backend` have a class `BACKEND`."""


@dataclass(frozen=True)
class Agreement:
    """How closely a segment's outputs are those of the end2end model in onnxruntime.

    `relative_l2` is the L2 norm of the difference, by that of what end2end gives.
    """

    relative_l2: float = 0.0

    def __str__(self) -> str:
        within = f"within a relative L2 of {self.relative_l2:g}"
        return within if self.relative_l2 else "bit for bit"


class Runner(Protocol):
    """A segment that is loaded."""

    def __call__(self, inputs: Mapping[str, Array], /) -> dict[str, Array]:
        """Return the outputs by name for the inputs by name; raises PartitionError."""


@runtime_checkable
class Backend(Protocol):
    """What runs segments, as it is set."""

    name: str

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield what the outputs depend on beside a segment: packages with their versions."""

    def convert(self, segment: Path, folder: Path) -> tuple[Path, ...]:
        """Return the files that `load` takes for the ONNX file `segment`; new ones in `folder`."""

    def load(self, *files: Path) -> Runner:
        """Return a segment, loaded; raises PartitionError if it or a setting cannot be taken."""

    def agreement(self) -> Agreement:
        """Return how closely the outputs must be those of end2end."""

    def frugal(self) -> Backend:
        """Return the same backend, but keeping no memory from run to run, for a peak."""
        return self


def backend(name: str) -> Backend:
    """Return the backend of a room, as it is set by itself; raises RunError for another name."""
    if name not in BACKENDS:
        what = "there is none of that name"
        raise RunError.at(f"backend '{name}'", what, one_of(BACKENDS), suggestion(name, BACKENDS))
    made: Backend = importlib.import_module(f"{__package__}.{name}.backend").BACKEND()
    return made
