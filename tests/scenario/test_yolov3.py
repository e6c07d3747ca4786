"""The first command of the README: mmdet's YOLOv3-608, built once for all tests of this module."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import onnxruntime
import pytest

from tests.projects import ROOT, Scratch

pytestmark = pytest.mark.thorough


def boundary(model: Path) -> tuple[dict[str, list[int | str]], dict[str, list[int | str]]]:
    """Return the inputs and outputs of a model, name to dims, as onnxruntime loads it."""
    session = onnxruntime.InferenceSession(model)
    return (
        {value.name: value.shape for value in session.get_inputs()},
        {value.name: value.shape for value in session.get_outputs()},
    )


def test_the_artifacts_have_the_marks_and_boundaries_of_the_recipe(yolov3: Scratch) -> None:
    folder = yolov3.folder / "build" / "yolov3"
    detections = {"dets": [1, "num_dets", 5], "labels": [1, "num_dets"]}
    maps = {
        "pred_maps.0": [1, 255, 19, 19],
        "pred_maps.1": [1, 255, 38, 38],
        "pred_maps.2": [1, 255, 76, 76],
    }
    picture = {"input": [1, 3, 608, 608]}
    assert boundary(folder / "end2end.onnx") == (picture, detections)
    assert boundary(folder / "yolov3.onnx") == (picture, maps)
    assert boundary(folder / "postprocess.onnx") == (maps, detections)
    nodes = onnx.load(folder / "end2end.onnx").graph.node
    marks = [
        {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for node in nodes
        if node.op_type == "Mark"
    ]
    assert [(mark["func"], mark["type"], mark["name"]) for mark in marks] == [
        (b"detector_forward", b"input", b"input"),
        (b"yolo_head", b"input", b"pred_maps.0"),
        (b"yolo_head", b"input", b"pred_maps.1"),
        (b"yolo_head", b"input", b"pred_maps.2"),
        (b"detector_forward", b"output", b"dets"),
        (b"detector_forward", b"output", b"labels"),
    ]
    assert "BatchNormalization" not in {node.op_type for node in nodes}


def test_the_proof_is_not_on_nothing(yolov3: Scratch) -> None:
    manifest = json.loads((yolov3.folder / "build" / "yolov3" / "manifest.json").read_text())
    samples = manifest["proof"]["samples"]
    assert len(samples) == 2
    for sample in samples:
        (picture,) = sample["detections"]
        assert picture["pairs"] == picture["pytorch"] == picture["end2end"] >= 50
        (suppression,) = sample["nms"]
        assert suppression["candidates"] > suppression["kept"] > 50


def test_the_report_says_what_seeded_weights_detect_above_the_pictures(yolov3: Scratch) -> None:
    page = (yolov3.folder / "build" / "yolov3" / "report.html").read_text(encoding="utf-8")
    section = page[page.index('id="detections-title"') :]
    note = (
        '<p class="caution">The weights are drawn from seed 0: labels and scores mean nothing. '
        "That all three agree does.</p>"
    )
    assert section.count(note) == 1
    assert section.index(note) < section.index("<figure>")


def test_a_misspelt_mark_is_told_and_touches_nothing(yolov3: Scratch) -> None:
    recipe = yolov3.folder / "recipes" / "yolov3.yaml"
    text = recipe.read_text()
    before = {path: path.stat().st_mtime_ns for path in (yolov3.folder / "build").rglob("*")}
    try:
        recipe.write_text(text.replace("end: ['yolo_head:input']", "end: ['yolo_hed:input']"))
        run = yolov3.doit("build", "recipe=yolov3")
    finally:
        recipe.write_text(text)
    assert run.returncode != 0
    assert run.stdout == (
        "ERROR: recipes/yolov3.yaml:15: partition.segments[0].end[0]: unknown mark 'yolo_hed'; "
        "expected one of 'detector_forward', 'yolo_head'; did you mean 'yolo_head'?\n"
    )
    assert {p: p.stat().st_mtime_ns for p in (yolov3.folder / "build").rglob("*")} == before


def test_mmdets_mobilenet_is_built_to_the_same_bytes_elsewhere(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        project = Scratch(tmp_path / name / "project", tmp_path / name / "store")
        shutil.copy(ROOT / "recipes" / "yolov3-mobilenetv2.yaml", project.folder / "recipes")
        project.environment["PYTHONHASHSEED"] = str(len(found) + 1)
        project.built("build", "recipe=yolov3-mobilenetv2")
        found.append(project.artifacts("yolov3-mobilenetv2"))
    assert found[0] == found[1]
    assert all(str(tmp_path).encode() not in content for content in found[0].values())
