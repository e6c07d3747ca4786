"""Families of detectors against mmdet's own `predict`, on pictures the trace has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .families import LIMIT, SIDE, Family, compare, family

RESNET18 = {"model.backbone.depth": 18}
LEVELS = [64, 128, 256, 512]

FAMILIES = {
    "detr": (
        "detr/detr_r50_8xb2-150e_coco.py",
        {
            **RESNET18,
            "model.neck.in_channels": [512],
            "model.num_queries": 30,
            "model.encoder.num_layers": 1,
            "model.decoder.num_layers": 2,
            "model.test_cfg.max_per_img": LIMIT,
        },
    ),
    "paa": (
        "paa/paa_r50_fpn_1x_coco.py",
        {
            **RESNET18,
            "model.neck.in_channels": LEVELS,
            "model.test_cfg.nms_pre": 100,
            "model.test_cfg.max_per_img": LIMIT,
        },
    ),
}


@pytest.mark.parametrize("name", ["detr", pytest.param("paa", marks=pytest.mark.thorough)])
def test_detections_are_those_of_mmdet(name: str, tmp_path: Path) -> None:
    one = family(tmp_path, *FAMILIES[name])
    for picture in one.pictures:
        expected = one.predicted(picture)
        assert compare(one.exported(picture), expected) == LIMIT
        assert len(np.unique(expected["dets"][0, :, 4])) > LIMIT // 2
        assert len(set(expected["labels"][0].tolist())) > 1


@pytest.fixture(scope="module")
def rtmdet_ins(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """It convolves its masks with one filter for each detection, as groups of one convolution."""
    overrides = {"model.test_cfg.max_per_img": LIMIT, "model.test_cfg.score_thr": 0.9}
    folder = tmp_path_factory.mktemp("rtmdet-ins")
    return family(folder, "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py", overrides)


@pytest.mark.thorough
def test_masks_are_those_of_mmdet_for_many_few_and_no_detections(rtmdet_ins: Family) -> None:
    counts = []
    for contrast in (3.0, 0.3):
        for picture in rtmdet_ins.pictures:
            seen = picture * np.float32(contrast)
            expected = rtmdet_ins.predicted(seen)
            counts.append(compare(rtmdet_ins.exported(seen), expected, LIMIT))
            assert expected["masks"].shape == (1, counts[-1], SIDE, SIDE)
    assert {0, 1, max(counts)} <= set(counts) and max(counts) > 2
