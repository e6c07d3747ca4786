"""OpenVINO as a backend: its IR, computed in float32 on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from partition_core.backends.backend import Agreement, Backend, Conversion
from partition_core.base.packages import installed

if TYPE_CHECKING:
    from partition_core.backends.openvino.session import Session

DTYPES = (
    *("bool", "float16", "float32", "float64"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
"""Those of the tensors at the ends of segments."""
_AGREEMENTS = {
    # YOLOv3-608: relative L2 1.7e-5; 7 of 6,720 detections lost, whose overlap with a kept one was
    # 0.4499945 at a threshold of 0.45; on MobileNetV2 at 320 x 320 3e-6, and none of 500. So few
    # are lost that 100 detections may lose one.
    "float32": Agreement(1e-4, 0.99),
    # With seeded weights, which amplify rounding, 2.3e-2 and 200 of 6,720, and on MobileNetV2
    # 2e-3 and 5 of 500; trained networks are nearer (6e-4).
    "float16": Agreement(5e-2, 0.9),
}
_RUNNING = """\
options = {{"INFERENCE_PRECISION_HINT": "f32"}}
model = openvino.Core().compile_model({xml!r}, "CPU", options)
results = model([inputs[name] for name in {inputs}])
given = dict(zip({outputs}, results.values()))
"""
_CONVERSION = """\
failure = ""
try:
    core = openvino.Core()
    core.compile_model(core.read_model({model!r}), "CPU")
except Exception as error:
    failure = str(error)
"""


@dataclass(frozen=True)
class OpenVino(Backend):
    """Settings with which OpenVINO converts and runs a segment.

    `precision` is the dtype in which weights are stored; all is computed in float32. `threads` are
    those of a run, 0 for as many as OpenVINO likes; they do not change a result.
    """

    precision: str = "float32"
    threads: int = 0
    name = "openvino"
    precisions: ClassVar[tuple[str, ...]] = tuple(_AGREEMENTS)
    extra: ClassVar[str] = "openvino"

    @classmethod
    def of(cls, precision: str) -> Self:
        """Return the backend with weights in this precision."""
        return cls(precision)

    def missing(self, converting: bool = True) -> str:
        """Return that openvino is not installed and the command that installs it, or nothing."""
        if find_spec("openvino"):
            return ""
        return "openvino is not installed: run `pip install 'partition-core[openvino]'`"

    def file_names(self, stem: str) -> tuple[str, ...]:
        """Return those of the IR's two files."""
        return (f"{stem}.xml", f"{stem}.bin")

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield the version of openvino and the precision of the weights."""
        yield from installed(("openvino",))
        yield "precision", self.precision

    def convert(self, segment: Path, folder: Path) -> Conversion:
        """Return the IR, new in `folder`; raises ConversionError."""
        from partition_core.backends.openvino.conversion import converted

        return converted(segment, folder, self.file_names(segment.stem), self.precision)

    def load(self, *files: Path) -> Session:
        """Return the loaded IR; raises RunError."""
        from partition_core.backends.openvino.session import Session

        return Session(*files, threads=self.threads)

    def agreement(self) -> Agreement:
        """Return how closely outputs agree with weights of this precision."""
        return _AGREEMENTS[self.precision]

    def can_give(self, dtype: str, rank: int) -> bool:
        """Return whether OpenVINO has the dtype."""
        return dtype in DTYPES

    def code(self, files: Sequence[Path], inputs: Sequence[str], outputs: Sequence[str]) -> str:
        """Return lines of Python that run the IR, computed in float32."""
        return _RUNNING.format(xml=files[0].name, inputs=list(inputs), outputs=list(outputs))

    def conversion_code(self, model: str) -> str:
        """Return lines of Python that read an ONNX file."""
        return _CONVERSION.format(model=model)


BACKEND = OpenVino
