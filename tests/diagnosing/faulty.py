"""A backend of the tests: it runs ONNX files in onnxruntime, and its converter has a fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from partition_core.backends.backend import Backend, Conversion
from partition_core.base.arrays import Arrays
from partition_core.base.errors import ConversionError

Apply = Callable[[onnx.ModelProto], None]


@dataclass(frozen=True)
class Faulty(Backend):
    """`apply` changes a model where it has what the fault is about; it may raise."""

    apply: Apply
    name = "faulty"

    def convert(self, segment: Path, folder: Path) -> Conversion:
        model = onnx.load(segment)
        self.apply(model)
        target = folder / f"{segment.stem}.faulty"
        target.write_bytes(model.SerializeToString())
        return Conversion((target,))

    def load(self, *files: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            str(files[0]), options, providers=["CPUExecutionProvider"]
        )
        names = [value.name for value in session.get_outputs()]
        return lambda inputs: dict(zip(names, session.run(None, dict(inputs)), strict=True))


@dataclass
class Here:
    """Runs a backend in this process, and counts its conversions."""

    backend: Backend
    conversions: list[str] = field(default_factory=list)

    def can_give(self, dtype: str, rank: int) -> bool:
        return self.backend.can_give(dtype, rank)

    def convert(self, model: Path, folder: Path) -> tuple[Path, ...]:
        self.conversions.append(model.name)
        return self.backend.convert(model, folder).files

    def run(self, files: Sequence[Path], samples: Sequence[Arrays]) -> list[Arrays]:
        return [self.backend.load(*files)(sample) for sample in samples]


def refusing(operator: str) -> Apply:
    """Return the fault of a converter that lacks an operator."""

    def apply(model: onnx.ModelProto) -> None:
        if operator in {node.op_type for node in model.graph.node}:
            raise ConversionError.at("segment", f"no converter for operator {operator}")

    return apply
