"""The interface of a backend: each package here has one in its module `backend`, and a table row.

A backend is a value whose fields are its settings. Importing it is cheap: its runtime is imported
when it loads a segment.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, runtime_checkable

from partition_core.base.errors import ProofError, RunError, one_of, suggestion

if TYPE_CHECKING:
    from partition_core.base.arrays import Array


BACKENDS = ("ncnn", "onnxruntime", "openvino", "tensorrt")
"""The packages whose module `backend` has a class `BACKEND`."""
_OF_TARGETS: Mapping[str, str] = {"onnxruntime": "target"}
"""The modules whose class `BACKEND` is for targets, where that is not `backend`: what only runs a
model does not depend on how a segment is converted."""


@dataclass(frozen=True)
class Agreement:
    """How closely a segment's outputs match those of the end2end model in onnxruntime.

    `relative_l2` is the L2 norm of the difference, divided by that of end2end's output, and bounds
    that of each tensor. `kept` is the least share of the detections of end2end that a chain with
    this segment must give as well, and of the chain's detections that end2end must give.
    """

    relative_l2: float = 0.0
    kept: float = 1.0

    @property
    def boxes(self) -> float:
        """How far a detection may move and be the same: relative to the largest coordinate.

        At least a thousandth, since behind a segment differences grow.
        """
        return max(1e-3, self.relative_l2)

    def __str__(self) -> str:
        within = f"within a relative L2 of {self.relative_l2:g}"
        return within if self.relative_l2 else "bit for bit"


@dataclass(frozen=True)
class Conversion:
    """A converted segment: its files in the order in which `load` takes them.

    `printed` is what the converter printed, without paths of this machine and times.
    """

    files: tuple[Path, ...]
    printed: str = ""


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
    """Runs segments, with its settings.

    `precisions` are the dtypes in which it can store weights, the default first. `extra` is the
    package's extra that installs it, empty if it is always installed. What is `emitted` is for a
    device: its files are published and never loaded.
    """

    name: str
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    extra: ClassVar[str] = ""
    emitted: ClassVar[bool] = False

    @classmethod
    def of(cls, precision: str) -> Self:
        """Return the backend with default settings and weights in one of its `precisions`."""
        return cls()

    def sized_by(self, end2end: Path, recording: Path) -> Backend:
        """Return the backend with the sizes of a proof, for one that does not run free sizes.

        `end2end` is the model, `recording` that of its samples.
        """
        return self

    def missing(self, converting: bool = True) -> str:
        """Return what is not installed and the command that installs it; empty if all is.

        Without `converting` it is what running needs, which may be less.
        """
        return ""

    def file_names(self, stem: str) -> tuple[str, ...]:
        """Return the names of the files that `convert` writes for the segment `stem`.onnx."""
        return ()

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield what files and outputs depend on besides the segment: packages with versions."""

    def convert(self, segment: Path, folder: Path) -> Conversion:
        """Return the ONNX file `segment` converted, in new files in `folder`, or as it is.

        The files have the names `file_names`, and the same bytes in each run. Raises
        ConversionError.
        """

    def load(self, *files: Path) -> Runner:
        """Return the loaded segment; raises PartitionError if it or a setting is not supported."""

    def agreement(self) -> Agreement:
        """Return how closely the outputs must match those of end2end."""

    def can_give(self, dtype: str, rank: int) -> bool:
        """Return whether an output of a segment may be a tensor of this dtype and rank."""
        return True

    def code(self, files: Sequence[Path], inputs: Sequence[str], outputs: Sequence[str]) -> str:
        """Return lines of Python that compute `given` from `inputs`, both arrays by name.

        They need numpy, as `np`, the package `extra`, both imported, and the converted `files` in
        the working directory. Empty if there are none for this runtime.
        """
        return ""

    def conversion_code(self, model: str) -> str:
        """Return lines of Python that convert the ONNX file `model` in the working directory.

        They set `failure` to the reason if that fails, and need the package `extra`, imported.
        Empty if there are none for this runtime.
        """
        return ""

    def frugal(self) -> Backend:
        """Return the same backend without memory kept between runs, to measure a peak."""
        return self


def backend(name: str, precision: str = "") -> Backend:
    """Return the backend with this name, with default settings; to convert, with a precision.

    Raises RunError for an unknown name, or a precision that it does not have.
    """
    if name not in BACKENDS:
        what = "there is no such backend"
        raise RunError.at(f"backend '{name}'", what, one_of(BACKENDS), suggestion(name, BACKENDS))
    if not precision:
        return _kind(f"backends.{name}.backend")()
    kind = _kind(backend_module(name))
    if precision not in kind.precisions:
        what, known = f"it has no precision '{precision}'", kind.precisions
        raise RunError.at(f"backend '{name}'", what, one_of(known), suggestion(precision, known))
    return kind.of(precision)


def backend_module(name: str) -> str:
    """Return the dotted name, in the package, of the module of a backend that converts."""
    return f"backends.{name}.{_OF_TARGETS.get(name, 'backend')}"


def _kind(module: str) -> type[Backend]:
    kind: type[Backend] = importlib.import_module(f"partition_core.{module}").BACKEND
    return kind
