"""ncnn as a backend: pnnx converts, ncnn computes in float32 on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from partition_core.backends.backend import Agreement, Backend, Conversion
from partition_core.base.disk import file_digest
from partition_core.base.errors import RunError
from partition_core.base.packages import installed

if TYPE_CHECKING:
    from partition_core.backends.ncnn.session import Session

_AGREEMENTS = {
    # YOLOv3-608: relative L2 2.7e-5, and 1 of 7,623 detections lost; on MobileNetV2 at 320 x 320
    # 5e-6, and none of 500. So few are lost that 100 detections may lose one.
    "float32": Agreement(1e-4, 0.99),
    # With seeded weights, which amplify rounding, 2.4e-2 and 200 of 6,720, and on MobileNetV2 2e-3
    # and 3 of 500; trained networks are nearer (6e-4).
    "float16": Agreement(5e-2, 0.9),
}
_NCNN = "run `pip install 'partition-core[ncnn]'`"
_PNNX = "run `pip install --no-deps pnnx` (its dependencies, torch for CUDA, are not needed)"


@dataclass(frozen=True)
class Ncnn(Backend):
    """Settings with which ncnn converts and runs a segment.

    `precision` is the dtype in which weights are stored; all is computed in float32. `threads` are
    those of a run, 0 for as many as ncnn likes; they do not change a result. `program` is pnnx's,
    by default that in its package.
    """

    precision: str = "float32"
    threads: int = 0
    program: Path | None = None
    name = "ncnn"
    precisions: ClassVar[tuple[str, ...]] = tuple(_AGREEMENTS)
    extra: ClassVar[str] = "ncnn"

    @classmethod
    def of(cls, precision: str) -> Self:
        """Return the backend with weights in this precision."""
        return cls(precision)

    def missing(self, converting: bool = True) -> str:
        """Return what of ncnn and pnnx is not installed and the commands that install it.

        A machine that only runs a segment needs no pnnx.
        """
        lacking = [] if find_spec("ncnn") else [f"ncnn is not installed: {_NCNN}"]
        if converting and not os.access(self.converter(), os.X_OK):
            lacking.append(f"pnnx is not installed: {_PNNX}")
        return "; ".join(lacking)

    def converter(self) -> Path:
        """Return pnnx's program, in its package if that is installed; nothing is imported."""
        if self.program is not None:
            return self.program
        package = find_spec("pnnx")
        folders = (package and package.submodule_search_locations) or ["pnnx"]
        return Path(folders[0]) / "pnnx"

    def file_names(self, stem: str) -> tuple[str, ...]:
        """Return those of ncnn's two files, and of the layout of the tensors at the ends."""
        return (f"{stem}.ncnn.param", f"{stem}.ncnn.bin", f"{stem}.ncnn.json")

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield the versions of ncnn and pnnx, or its program's digest, and the precision."""
        yield from installed(("ncnn",))
        if self.program is None:
            yield from installed(("pnnx",))
        else:
            yield "pnnx", file_digest(self.program)
        yield "precision", self.precision

    def convert(self, segment: Path, folder: Path) -> Conversion:
        """Return the files `file_names`, new in `folder`; raises ConversionError."""
        from partition_core.backends.ncnn.conversion import converted

        names = self.file_names(segment.stem)
        return converted(segment, folder, names, self.converter(), self.precision)

    def load(self, *files: Path) -> Session:
        """Return the loaded files; raises RunError."""
        from partition_core.backends.ncnn.session import Session

        if len(files) != len(self.file_names("")):
            named = ", ".join(file.name for file in files)
            expected = "expected the files of a conversion: '.param', '.bin' and '.json'"
            raise RunError.at("ncnn", f"it cannot load {named}", expected)
        return Session(*files, threads=self.threads)

    def agreement(self) -> Agreement:
        """Return how closely outputs agree with weights of this precision."""
        return _AGREEMENTS[self.precision]


BACKEND = Ncnn
