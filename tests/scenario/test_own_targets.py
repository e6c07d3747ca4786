"""Targets that need no other package: in onnxruntime, and emitted for a device with TensorRT."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest

from partition_core import Pipeline
from partition_core.base.errors import RunError
from tests.projects import FileScratch

BODY = "save_file: body.onnx, "
HALF = "{backend: onnxruntime, precision: float16}"
ENGINE = "{backend: tensorrt, emit: true, precision: float16}"


def with_targets(project: FileScratch, targets: str) -> FileScratch:
    project.edit("recipes/tiny.yaml", BODY, f"{BODY}targets: [{targets}], ")
    return project


def test_one_is_run_and_compared_and_the_other_is_published_as_not_run(
    fresh: FileScratch,
) -> None:
    fresh.environment["PARTITION_CORE_REPORT"] = "1"
    said = with_targets(fresh, f"onnxruntime, {HALF}, {ENGINE}").built()
    assert "build/tiny/body.onnxruntime: published, within a relative L2 of " in said
    assert "build/tiny/body.tensorrt-float16: published, not run here\n" in said
    folder = fresh.folder / "build/tiny"
    image = {"image": np.random.default_rng(5).normal(size=(1, 3, 32, 32)).astype(np.float32)}
    whole = Pipeline(folder)(image)["scores"]
    apart = []
    for name in ("onnxruntime", "onnxruntime-float16"):
        scores = Pipeline(folder, use={"body.onnx": name})(image)["scores"]
        apart.append(float(np.linalg.norm(scores - whole) / np.linalg.norm(whole)))
    assert apart[0] < 1e-6 < apart[1] < 1e-2
    with pytest.raises(RunError) as caught:
        Pipeline(folder, use={"body.onnx": "tensorrt-float16"})
    assert str(caught.value) == (
        "target 'tensorrt-float16' of 'body.onnx': it is published for a device and not run here: "
        "`build_engine.sh` builds its engine there"
    )
    *_, engine = json.loads((folder / "manifest.json").read_text())["targets"]
    assert set(engine["files"]) == {"body.onnx", "build_engine.sh"}
    assert set(engine["agreement"]) == {"not_run"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    row = page.split("tensorrt-float16<span")[1].split("</tr>")[0]
    assert "not run here" in row
    assert fresh.built() == "tiny: up to date (8 artifacts in build/tiny)\n"


def test_an_engine_is_refused_before_anything_is_built(fresh: FileScratch) -> None:
    run = with_targets(fresh, "tensorrt").doit("build")
    assert run.returncode != 0
    line = "recipes/tiny.yaml:9: partition.segments[0].targets: target 'tensorrt': partition-core "
    assert f"{line}builds no engine" in run.stdout
    assert "`emit: true` publishes what a device builds the engine from" in run.stdout
    assert not (fresh.folder / "build/tiny").exists()


def test_an_operator_that_tensorrt_lacks_is_refused_with_the_policy(fresh: FileScratch) -> None:
    model = onnx.load(fresh.folder / "tiny.onnx")
    relu = next(node for node in model.graph.node if node.name == "/body/Relu")
    relu.op_type = "CenterCropPad"
    relu.input.append("size")
    relu.attribute.append(onnx.helper.make_attribute("axes", [2, 3]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([8, 8]), "size"))
    onnx.save(model, fresh.folder / "tiny.onnx")
    run = with_targets(fresh, ENGINE).doit("build")
    assert run.returncode != 0
    assert (
        "ERROR: recipes/tiny.yaml:9: partition.segments[0].targets: body.tensorrt-float16: segment "
        "'body.onnx': it has what TensorRT does not support: CenterCropPad is not in the list (1); "
        "`partition: {type: supported, operators: {toolchain: tensorrt}}` cuts them out\n"
    ) in run.stdout
    assert not (fresh.folder / "build/tiny/body.tensorrt-float16").exists()
