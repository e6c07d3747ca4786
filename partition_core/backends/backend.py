"""The interface of a backend: each package here has one in its module `backend`, and a table row.

A backend is a value whose fields are its settings. Importing it is cheap: its runtime is imported
when it loads a segment.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from partition_core.base.errors import ProofError, RunError, one_of, suggestion

if TYPE_CHECKING:
    from partition_core.base.arrays import Array


BACKENDS = ("onnxruntime",)
"""The packages whose module `backend` has a class `BACKEND`."""


@dataclass(frozen=True)
class Agreement:
    """How closely a segment's outputs match those of the end2end model in onnxruntime.

    `relative_l2` is the L2 norm of the difference, divided by that of end2end's output.
    """

    relative_l2: float = 0.0

    def __str__(self) -> str:
        within = f"within a relative L2 of {self.relative_l2:g}"
        return within if self.relative_l2 else "bit for bit"


class MissingOperatorError(ProofError):
    """A backend lacks an operator of a model: all with this name, or that of one node.

    `domain` is None if the operator is known and its dtypes are not; `node` may be empty.
    """

    op_type: str = ""
    domain: str | None = None
    node: str = ""


class Runner(Protocol):
    """A loaded segment."""

    def __call__(self, inputs: Mapping[str, Array], /) -> dict[str, Array]:
        """Return the outputs by name for the inputs by name; raises PartitionError."""


@runtime_checkable
class Backend(Protocol):
    """Runs segments, with its settings."""

    name: str

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield what the outputs depend on besides the segment: packages with their versions."""

    def convert(self, segment: Path, folder: Path) -> tuple[Path, ...]:
        """Return the files that `load` takes for the ONNX file `segment`, new ones in `folder`."""

    def load(self, *files: Path) -> Runner:
        """Return the loaded segment; raises PartitionError if it or a setting is not supported."""

    def agreement(self) -> Agreement:
        """Return how closely the outputs must match those of end2end."""

    def frugal(self) -> Backend:
        """Return the same backend without memory kept between runs, to measure a peak."""
        return self


def backend(name: str) -> Backend:
    """Return the backend with this name, with default settings; raises RunError if unknown."""
    if name not in BACKENDS:
        what = "there is no such backend"
        raise RunError.at(f"backend '{name}'", what, one_of(BACKENDS), suggestion(name, BACKENDS))
    default: Backend = importlib.import_module(f"{__package__}.{name}.backend").BACKEND()
    return default
