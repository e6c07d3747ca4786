"""ncnn as a backend: pnnx converts, ncnn computes in float32 on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
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
MOST_DIMS = 4
"""Of a blob, besides the batch."""
FLAGS = {"float32": "fp16=0", "float16": "fp16=1"}
"""pnnx's option for the dtype of the weights."""
_LOADED = """\
# The files are those of `pnnx culprit.onnx {flag}`, with ONNX's names.
net, given = ncnn.Net(), {{}}
for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
    setattr(net.opt, f"use_{{option}}", False)
assert not net.load_param({param!r}) and not net.load_model({weights!r})
run = net.create_extractor()
"""
_FED = """\
array = np.ascontiguousarray(inputs[{name!r}], np.{dtype})
run.input({blob!r}, ncnn.Mat(array, batch_index={axis}).clone())
"""
_READ = """\
given[{name!r}] = np.array(run.extract({blob!r})[1].numpy(batch_index={axis}))
"""
_CONVERSION = """\
import importlib.util
import pathlib
import subprocess

folder = pathlib.Path(importlib.util.find_spec("pnnx").origin).parent
run = subprocess.run([folder / "pnnx", {model!r}, {flag!r}], text=True, capture_output=True)
printed = run.stdout + run.stderr
marked = (line for line in printed.splitlines() if line.startswith(("ignore ", "todo ")))
left_out = sorted({{line.split()[1] for line in marked}})
failure = f"pnnx leaves out {{', '.join(left_out)}}" if left_out else ""
failure = failure or ("" if run.returncode == 0 else printed)
if not failure and ncnn.Net().load_param("{stem}.ncnn.param"):
    failure = "ncnn cannot load it"
"""
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

    def can_give(self, dtype: str, rank: int) -> bool:
        """Return whether a blob can hold it."""
        return dtype == "float32" and 1 <= rank <= MOST_DIMS

    def code(self, files: Sequence[Path], inputs: Sequence[str], outputs: Sequence[str]) -> str:
        """Return lines of Python that run the files, with the layout of each tensor."""
        from partition_core.backends.ncnn.layout import read_layout

        ends = read_layout(files[2])
        fed = "".join(
            _FED.format(
                blob=end.blob,
                name=end.name,
                dtype="int32" if end.dtype.startswith("int") else "float32",
                axis=end.batch_index,
            )
            for end in ends.inputs
        )
        read = "".join(
            _READ.format(blob=end.blob, name=end.name, axis=end.batch_index) for end in ends.outputs
        )
        param, weights = (file.name for file in files[:2])
        return (
            f"{_LOADED.format(param=param, weights=weights, flag=FLAGS[self.precision])}{fed}{read}"
        )

    def conversion_code(self, model: str) -> str:
        """Return lines of Python that run pnnx's program in its package, and load its files."""
        stem = model.removesuffix(".onnx")
        return _CONVERSION.format(model=model, stem=stem, flag=FLAGS[self.precision])


BACKEND = Ncnn
