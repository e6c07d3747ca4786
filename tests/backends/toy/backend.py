"""A backend of the tests alone: its files are ONNX files turned round, its results are off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from partition_core.backends.backend import Agreement, Backend, Conversion

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Toy(Backend):
    """`off` is how much too large its floats are, by what they should be."""

    off: float = 1e-4
    name = "toy"

    def entries(self) -> Iterator[tuple[str, str]]:
        yield "toy", "1.0"

    def convert(self, segment: Path, folder: Path) -> Conversion:
        target = folder / f"{segment.stem}.toy"
        target.write_bytes(segment.read_bytes()[::-1])
        return Conversion((target,))

    def load(self, *files: Path) -> Callable[[Mapping[str, np.ndarray]], Arrays]:
        (file,) = files
        content = file.read_bytes()[:: -1 if file.suffix == ".toy" else 1]
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_outputs()]

        def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
            made = dict(zip(names, session.run(None, dict(inputs)), strict=True))
            return {
                name: one * one.dtype.type(1 + self.off) if one.dtype.kind == "f" else one
                for name, one in made.items()
            }

        return run

    def agreement(self) -> Agreement:
        return Agreement(2e-4)


BACKEND = Toy
