"""A build folder of two segments, made by hand, and what its end2end model gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from partition_core import cut_between
from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.disk import file_digest
from partition_core.base.fingerprint import Fingerprint
from partition_core.chain.manifest import composed
from partition_core.chain.pieces import (
    MODEL_INPUT,
    MODEL_OUTPUT,
    Chain,
    Edge,
    SegmentBoundary,
    Tensor,
)
from partition_core.graph.more_outputs import with_outputs
from partition_core.proof.observed import Whole

TEXT = """
<ir_version: 10, opset_import: ["": 20]>
net (float[1, 8] x) => (float[1, 8] z, int64[1, 1] best) {
    y = Tanh (x)
    w = Exp (y)
    z = Softmax <axis = 1> (w)
    best = ArgMax <axis = 1> (z)
}
"""
X, Y, Z, BEST = (
    Tensor(name, dtype, dims, f"{name}:at")
    for name, dtype, dims in (
        ("x", "float32", (1, 8)),
        ("y", "float32", (1, 8)),
        ("z", "float32", (1, 8)),
        ("best", "int64", (1, 1)),
    )
)
BOUNDARIES = (SegmentBoundary("a.onnx", (X,), (Y,)), SegmentBoundary("b.onnx", (Y,), (Z, BEST)))
EDGES = (
    Edge(MODEL_INPUT, "x", "a.onnx", "x", "float32", (1, 8)),
    Edge("a.onnx", "y", "b.onnx", "y", "float32", (1, 8)),
    Edge("b.onnx", "z", MODEL_OUTPUT, "z", "float32", (1, 8)),
    Edge("b.onnx", "best", MODEL_OUTPUT, "best", "int64", (1, 1)),
)
SAMPLES = [
    {"x": np.random.default_rng(seed).normal(size=(1, 8)).astype(np.float32)} for seed in (0, 1)
]


@dataclass(frozen=True)
class Build:
    """A build folder, its chain, and what end2end gives for each of `SAMPLES`."""

    folder: Path
    chain: Chain
    wholes: Sequence[Whole]

    @property
    def manifest(self) -> str:
        return (self.folder / "manifest.json").read_text()


def built(folder: Path, edges: Sequence[Edge] = EDGES) -> Build:
    end2end = folder / "end2end.onnx"
    onnx.save(onnx.parser.parse_model(TEXT), end2end)
    cut_between(end2end, ["x"], ["y"], folder / "a.onnx")
    cut_between(end2end, ["y"], ["z", "best"], folder / "b.onnx")
    run = Plain("end2end").load(with_outputs(end2end, ["y"], folder / "observed.onnx"))
    wholes = [_whole(sample, run(sample)) for sample in SAMPLES]
    files = {name: folder / name for name in ("end2end.onnx", "a.onnx", "b.onnx")}
    (folder / "manifest.json").write_text(
        composed(
            recipe={
                "name": "net",
                "model": {},
                "export": {"inputs": [{"name": "x", "shape": [1, 8]}]},
            },
            artifacts={
                name: {name: (file_digest(path), path.stat().st_size)}
                for name, path in files.items()
            },
            targets=[],
            proven={
                "proof": {},
                "segments": [asdict(one) for one in BOUNDARIES],
                "edges": [asdict(one) for one in edges],
                "coverage": {},
            },
            export={"detects": False},
            summary="proven",
            fingerprints={"export": Fingerprint((("python", "3.11"),))},
        )
    )
    chain = Chain({name: files[name] for name in ("a.onnx", "b.onnx")}, BOUNDARIES, edges)
    return Build(folder, chain, wholes)


def _whole(sample: Mapping[str, np.ndarray], given: dict[str, np.ndarray]) -> Whole:
    outputs = {name: given[name] for name in ("z", "best")}
    marks = {f"{name}:at": array for name, array in {**sample, **given}.items()}
    return Whole(outputs, outputs, marks, [])
