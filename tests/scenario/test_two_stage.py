"""A recipe for a two-stage detector with masks: exported, cut and proven as a user does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Scratch

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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    folder = tmp_path_factory.mktemp("two-stage")
    project = Scratch(folder / "project", folder / "store")
    (project.folder / "recipes" / "tiny.yaml").unlink()
    project.write("recipes/mask.yaml", RECIPE)
    project.built("build")
    return project


def manifest(project: Scratch) -> dict:  # type: ignore[type-arg]
    return json.loads(Path(project.folder / "build/mask/manifest.json").read_text())


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
    import numpy as np

    from partition_core.proving.masks import unequal_masks

    (reference,) = (
        path
        for path in (project.store / "v1").rglob("*")
        if path.is_file() and path.read_bytes()[:2] == b"PK"
    )
    with np.load(reference) as arrays:
        masks = arrays["0/output/masks"][0]
    assert masks.shape == (20, 28, 28)
    assert unequal_masks(masks, masks[::-1], 1e-4) == 20
    assert unequal_masks(masks, np.roll(masks, 1, axis=2), 1e-4) == 20
