"""Recipes of small torch models, exported by hand, and their models run in onnxruntime."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from partition_core.base.recording import RecordedSample
from partition_core.graph.files import save_traced
from partition_core.recipe.values import (
    Answer,
    DynamicAxis,
    ExportOptions,
    Mark,
    OwnWeights,
    Partition,
    Proof,
    Recipe,
    TensorSpec,
    TorchModel,
    Weights,
)
from partition_core.sources.traced import export_recipe, load_subject
from partition_core.trace.exporter import TracedExport, export_model
from partition_core.trace.traceable_model import TraceableModel
from tests.forks import has_forks, run_forked

ROOT = Path(__file__).parents[2]
MODELS = "tests.export.models"
IMAGE = {"image": (1, 3, 16, 16)}

Shapes = Mapping[str, tuple[int, ...] | tuple[tuple[int, ...], str]]


@contextlib.contextmanager
def quietly(_part: str) -> Iterator[None]:
    yield


def mark(name: str, on: str | None = None, **more: Any) -> Mark:
    target = on if on is None or on.startswith((f"{MODELS}.", "tests.")) else f"{MODELS}.{on}"
    return Mark(
        name,
        target,
        more.get("module"),
        more.get("inputs"),
        more.get("outputs"),
        more.get("decorator", False),
    )


def torch_recipe(
    factory: str,
    inputs: Shapes,
    *marks: Mark,
    args: tuple[tuple[str, str], ...] = (),
    weights: Weights | None = None,
    output_names: tuple[str, ...] = (),
    dynamic_axes: tuple[DynamicAxis, ...] = (),
    opset: int = 20,
    answers: tuple[Answer, ...] = (),
) -> Recipe:
    specs = []
    for name, given in sorted(inputs.items()):
        shape, dtype = given if given and isinstance(given[-1], str) else (given, "float32")
        specs.append(TensorSpec(name, tuple(shape), str(dtype)))  # type: ignore[arg-type]
    path = factory if ":" in factory else f"{MODELS}:{factory}"
    return Recipe(
        "small-model",
        TorchModel(path, args, weights or OwnWeights()),
        ExportOptions(tuple(specs), output_names, dynamic_axes, opset, answers=answers),
        marks,
        Partition("nothing", ()),
        Proof(1e-4, ()),
    )


def export(recipe: Recipe, root: Path = ROOT, checkpoint: Path | None = None) -> TracedExport:
    return export_recipe(recipe, root, checkpoint, quietly)


def export_with_ops(recipe: Recipe) -> TracedExport:
    """Export a model that calls the custom ops which stand in for code of mmcv and mmdet."""
    from partition_core.sources.mmdet.source import ALL_TRANSLATIONS

    def load() -> TraceableModel:
        subject = load_subject(recipe, ROOT, None)
        return dataclasses.replace(subject, translations=ALL_TRANSLATIONS)

    return export_model(recipe, load, quietly)


def saved(model: ir.Model, folder: Path) -> Path:
    path = folder / "end2end.onnx"
    save_traced(model, path)
    return path


def run(model: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(inputs)), strict=True))


def sample(exported: TracedExport, number: int = 0) -> RecordedSample:
    return exported.recording.samples[number]


def in_new_process(code: str, *arguments: str, **environment: str) -> str:
    """Run Python code in a process that has imported nothing yet; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_mmcvs_ops(code: str, *arguments: str) -> str:
    """Run Python code in a process that has imported torch and not `mmcv.ops`, in half the time."""
    if not has_forks():
        return in_new_process(code, *arguments)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "given_code.py").write_text(code)
        command = ["given_code", *arguments]
        done = run_forked("torch", command, Path(folder), {**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout
    return done.stdout
