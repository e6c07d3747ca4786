"""A recipe for a two-stage detector with masks: exported, cut and proven as a user does it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from partition_core.base.recording import load_recording
from partition_core.proof.comparison import unequal_masks
from tests.projects import Scratch

pytestmark = pytest.mark.thorough

RECIPE = """\
model:
  source: mmdet
  config: mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py
  weights: {seed: 0}
  overrides:
    model.backbone.depth: 18
    model.neck.in_channels: [64, 128, 256, 512]
    model.test_cfg.rpn.nms_pre: 100
    model.test_cfg.rpn.max_per_img: 50
    model.test_cfg.rcnn.max_per_img: 20
export:
  inputs: {input: {shape: [1, 3, 128, 128]}}
partition: {type: two_stage_masks}
"""
PASTED = """\
extends: mask.yaml
export: {masks: pasted}
partition:
  type: behind_the_box_head
  segments:
    - save_file: detections.onnx
      start: ['bbox_head_forward:output', 'roi_extractor:input.rois',
              'multiclass_nms[0]:output.keep', 'mask_roi_extractor:input.feats']
      end: ['detector_forward:output']
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    folder = tmp_path_factory.mktemp("two-stage")
    project = Scratch(folder / "project", folder / "store")
    (project.folder / "recipes" / "tiny.yaml").unlink()
    project.write("recipes/mask.yaml", RECIPE)
    project.write("recipes/pasted.yaml", PASTED)
    project.built("-n", "2", "build")
    return project


def manifest(project: Scratch, name: str = "mask") -> dict:  # type: ignore[type-arg]
    return json.loads(Path(project.folder / "build" / name / "manifest.json").read_text())


def recorded_masks(project: Scratch) -> Iterator[np.ndarray]:
    for path in (project.store / "v1").rglob("*"):
        if path.is_file() and path.read_bytes()[:2] == b"PK":
            yield load_recording(path).samples[0].outputs["masks"]


def test_the_proof_matches_every_detection_and_its_mask(project: Scratch) -> None:
    samples = manifest(project)["proof"]["samples"]
    assert len(samples) == 2
    for sample in samples:
        (picture,) = sample["detections"]
        assert picture["pairs"] == picture["pytorch"] == picture["end2end"] == 20
        assert picture["different"] == 0
        assert picture["mask_difference"] < 1e-4
        assert all(one["kept"] < one["candidates"] for one in sample["nms"])


def test_the_comparison_tells_these_masks_apart(project: Scratch) -> None:
    (masks,) = (masks[0] for masks in recorded_masks(project) if masks.dtype == np.float32)
    assert masks.shape == (20, 28, 28)
    assert unequal_masks(masks, masks[::-1], 1e-4) == 20
    assert unequal_masks(masks, np.roll(masks, 1, axis=2), 1e-4) == 20


def test_the_policy_leaves_nothing_of_a_model_with_masks_outside(project: Scratch) -> None:
    told = manifest(project)
    assert told["coverage"]["uncovered"] == []
    assert told["proof"]["given_by_end2end"] == []
    boundary = {
        (one["save_file"], side): [tensor["name"] for tensor in one[side]]
        for one in told["segments"]
        for side in ("inputs", "outputs")
    }
    assert boundary["mask_head.onnx", "inputs"] == ["mask_feats"]
    assert boundary["mask_head.onnx", "outputs"] == ["mask_preds"]
    assert boundary["masks.onnx", "inputs"] == ["mask_preds", "idxs", "kept"]
    assert boundary["masks.onnx", "outputs"] == ["masks"]


def test_pasted_masks_equal_those_of_mmdets_own_pasting(project: Scratch) -> None:
    for sample in manifest(project, "pasted")["proof"]["samples"]:
        (picture,) = sample["detections"]
        assert picture["pairs"] == picture["pytorch"] == picture["end2end"] == 20
        assert picture["mask_difference"] < 1e-3
    (masks,) = (masks for masks in recorded_masks(project) if masks.dtype == bool)
    assert masks.shape == (1, 20, 128, 128)
    inside = masks[0].reshape(20, -1).mean(axis=1)
    assert (inside > 0).sum() >= 15 and (inside < 1).all() and len(set(inside)) >= 10


def test_a_model_without_masks_has_none_to_paste(project: Scratch) -> None:
    project.write(
        "recipes/boxes.yaml",
        """\
model: {source: mmdet, config: yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py, weights: {seed: 0}}
export: {masks: pasted, inputs: {input: {shape: [1, 3, 64, 64]}}}
partition: {type: single_stage}
""",
    )
    run = project.doit("build", "recipe=boxes")
    assert run.returncode != 0
    assert "recipes/boxes.yaml:2: export.masks: the model has no masks to paste" in run.stdout
    assert not (project.folder / "build" / "boxes").exists()


@pytest.mark.parametrize("kept", [0, 1])
def test_pasted_masks_of_no_and_of_one_detection(project: Scratch, kept: int) -> None:
    session = onnxruntime.InferenceSession(project.folder / "build/pasted/detections.onnx")
    given = {one.name: one for one in session.get_inputs()}
    maps = {
        name: np.random.default_rng(0).normal(size=one.shape).astype(np.float32)
        for name, one in given.items()
        if name.startswith("feats.")
    }
    scores = np.zeros((2, 81), np.float32)
    scores[:, 80] = 20.0  # the background
    scores[:kept, 7] = 40.0
    rois = np.array([[0, 8, 16, 40, 64], [0, 30, 30, 90, 90]], np.float32)
    dets, labels, masks = session.run(
        ["dets", "labels", "masks"],
        {
            **maps,
            "cls_score": scores,
            "bbox_pred": np.zeros((2, 320), np.float32),
            "rois": rois,
            "keep": np.arange(2),
        },
    )
    assert masks.shape == (1, kept, 128, 128) and masks.dtype == bool
    assert labels.tolist() == [[7] * kept]
    np.testing.assert_allclose(dets[0, :, :4], rois[:kept, 1:], atol=1e-3)
    # A mask is nowhere but in its box.
    assert not masks[:, :, :15].any() and not masks[:, :, 65:].any()
    assert not masks[:, :, :, :7].any() and not masks[:, :, :, 41:].any()
    assert masks.any(axis=(2, 3)).sum() == kept
