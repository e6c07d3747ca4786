"""onnxruntime as a target: an ONNX file of its own, in float32 with its graph optimized."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from partition_core.backends.backend import Agreement, Conversion
from partition_core.backends.onnxruntime.backend import OnnxRuntime

_AGREEMENTS = {
    # YOLOv3-MobileNetV2 at 320 x 320: relative L2 2.5e-6, and none of 200 detections lost; a fusion
    # rounds differently, 1.2e-5 on YOLOv3-608. So few are lost that 100 detections may lose one.
    "float32": Agreement(1e-4, 0.99),
    # With seeded weights, which amplify rounding, 2.1e-3 and 2 of 200 on the same network, and
    # 2.3e-2 on YOLOv3-608; trained networks are nearer.
    "float16": Agreement(5e-2, 0.9),
}


@dataclass(frozen=True)
class OnnxRuntimeTarget(OnnxRuntime):
    """onnxruntime as a target: a file of its own, with weights in one of the `precisions`.

    In float32 its graph is optimized already; in float16 only the weights and what is computed with
    them are others, and inputs and outputs are as they were.
    """

    precision: str = "float32"
    precisions: ClassVar[tuple[str, ...]] = tuple(_AGREEMENTS)

    @classmethod
    def of(cls, precision: str) -> Self:
        """Return the backend with weights in this precision."""
        return cls(precision=precision)

    def file_names(self, stem: str) -> tuple[str, ...]:
        """Return that of the ONNX file."""
        return (f"{stem}.onnx",)

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield the packages, and a precision that is not the default."""
        yield from super().entries()
        if self.precision != self.precisions[0]:
            yield "precision", self.precision

    def convert(self, segment: Path, folder: Path) -> Conversion:
        """Return the ONNX file, new in `folder`; raises ConversionError."""
        from partition_core.backends.onnxruntime.conversion import converted

        (name,) = self.file_names(segment.stem)
        return converted(segment, folder, name, self.precision)

    def agreement(self) -> Agreement:
        """Return how closely outputs agree with weights of this precision."""
        return _AGREEMENTS[self.precision]


BACKEND = OnnxRuntimeTarget
