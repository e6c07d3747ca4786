"""TensorRT as a backend that is emitted: a segment and the script that builds its engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Self

from partition_core.backends.backend import Agreement, Backend, Conversion, Runner
from partition_core.base.errors import RunError

SCRIPT = "build_engine.sh"
_GPUS = Path("/proc/driver/nvidia/gpus")
_INSTEAD = "`emit: true` publishes what a device builds the engine from"
_ELSEWHERE = f"it is published for a device and not run here: `{SCRIPT}` builds its engine there"


@dataclass(frozen=True)
class TensorRt(Backend):
    """Settings with which a segment is emitted for TensorRT.

    `precision` is `float16` for engines that may compute in it. `end2end` and `recording` are files
    of the build, from which the range of each free size comes.
    """

    precision: str = "float32"
    end2end: Path | None = None
    recording: Path | None = None
    name = "tensorrt"
    precisions: ClassVar[tuple[str, ...]] = ("float32", "float16")
    emitted: ClassVar[bool] = True

    @classmethod
    def of(cls, precision: str) -> Self:
        """Return the backend for engines of this precision."""
        return cls(precision)

    def sized_by(self, end2end: Path, recording: Path) -> TensorRt:
        """Return the backend with the sizes of free dims that the proof ran."""
        return TensorRt(self.precision, end2end, recording)

    def missing(self, converting: bool = True) -> str:
        """Return why no engine is built here, which is always so, or why none is run."""
        if not converting:
            return _ELSEWHERE
        lacking = [
            *([] if find_spec("tensorrt") else ["the package 'tensorrt' is not installed"]),
            *([] if _GPUS.is_dir() else ["there is no NVIDIA GPU"]),
        ]
        why = f": {' and '.join(lacking)}" if lacking else ""
        return f"partition-core builds no engine{why}; {_INSTEAD}"

    def file_names(self, stem: str) -> tuple[str, ...]:
        """Return those of the segment and of the script."""
        return (f"{stem}.onnx", SCRIPT)

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield the precision, on which the script depends."""
        yield "precision", self.precision

    def convert(self, segment: Path, folder: Path) -> Conversion:
        """Return the segment and the script, new in `folder`; raises ConversionError."""
        from partition_core.backends.tensorrt.conversion import converted

        names = self.file_names(segment.stem)
        return converted(segment, folder, names, self.precision, (self.end2end, self.recording))

    def load(self, *files: Path) -> Runner:
        """Raise RunError: nothing here runs it."""
        raise RunError.at("tensorrt", _ELSEWHERE)

    def agreement(self) -> Agreement:
        """Return that of equal outputs, which nothing here compares."""
        return Agreement()


BACKEND = TensorRt
