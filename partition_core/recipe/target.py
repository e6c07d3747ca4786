"""The runtimes that a segment is converted for, as a recipe names them; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BackendName = Literal["ncnn", "openvino"]
TargetPrecision = Literal["float32", "float16"]

PRECISIONS: Mapping[BackendName, tuple[TargetPrecision, ...]] = {
    "openvino": ("float32", "float16"),
    "ncnn": ("float32", "float16"),
}
"""The backends that convert a segment, each with the dtypes that it can store weights in."""

DEFAULT_PRECISION: TargetPrecision = "float32"


@dataclass(frozen=True)
class Target:
    """A runtime that the segment in `segment` is converted for: a backend and the dtype of weights.

    `tolerance` (relative L2 of each output) and `kept` (the least share of detections that stay)
    replace the backend's own, unless None. One that is not `required` may fail with a warning.
    """

    segment: str
    backend: BackendName
    precision: TargetPrecision = DEFAULT_PRECISION
    required: bool = True
    tolerance: float | None = None
    kept: float | None = None

    @property
    def name(self) -> str:
        """What messages and `use=` call it: the backend, and the precision unless float32."""
        return target_name(self.backend, self.precision)

    @property
    def folder(self) -> str:
        """The folder of its files in the recipe's build folder, which is the artifact's name."""
        return f"{self.segment.removesuffix('.onnx')}.{self.name}"


def target_name(backend: str, precision: str) -> str:
    """Return the name of a target."""
    return backend if precision == DEFAULT_PRECISION else f"{backend}-{precision}"
