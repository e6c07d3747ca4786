"""Families of detectors against mmdet's own `predict`, on pictures the trace has not seen."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partition_core.proof.comparison import Detections, match_detections, unequal_masks
from partition_core.recipe.values import (
    ExportOptions,
    Mark,
    MmdetModel,
    Partition,
    Proof,
    Recipe,
    Seed,
    TensorSpec,
)
from partition_core.sources import traced
from partition_core.sources.traced import export_recipe
from partition_core.trace.traceable_model import TraceableModel
from tests.export.support import quietly, run, saved

SIDE = 128
LIMIT = 20
RESNET18 = {"model.backbone.depth": 18}
LEVELS = [64, 128, 256, 512]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Family:
    """An exported detector: what it is made of, its file and the pictures of its proof."""

    subject: TraceableModel
    file: Path
    pictures: tuple[np.ndarray, ...]

    def exported(self, picture: np.ndarray) -> Arrays:
        return run(self.file, {"input": picture})

    def predicted(self, picture: np.ndarray) -> Arrays:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what mmdet 3.3 calls is deprecated
            outputs = self.subject.module(torch.from_numpy(picture.copy()))
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def family(folder: Path, config: str, overrides: dict[str, Any]) -> Family:
    values = tuple(sorted((key, json.dumps(value)) for key, value in overrides.items()))
    recipe = Recipe(
        "family",
        MmdetModel(config, values, Seed(0)),
        ExportOptions((TensorSpec("input", (1, 3, SIDE, SIDE), "float32"),), (), (), 20),
        (Mark("detector_forward", "detector", None, ("input",), None),),
        Partition("none", ()),
        Proof(1e-4, ()),
    )
    subjects: list[TraceableModel] = []
    load = traced.load_subject

    def keep(*args: Any) -> TraceableModel:
        subjects.append(load(*args))
        return subjects[0]

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(traced, "load_subject", keep)
        exported = export_recipe(recipe, folder, None, quietly)
    first, second = (exported.recording.samples[number].inputs["input"] for number in (0, 1))
    pictures = (first, second, first[..., ::-1].copy(), second[:, :, ::-1].copy())
    return Family(subjects[0], saved(exported.model, folder), pictures)


def compare(found: Arrays, expected: Arrays, limit: int = LIMIT) -> int:
    """Assert that two runs found the same; return how many detections that are."""
    assert list(found) == list(expected)
    ours, theirs = (Detections.of(one["dets"][0], one["labels"][0]) for one in (found, expected))
    match = match_detections(theirs, ours, 1e-4, limit)
    assert match.holds, match
    if "masks" in expected:
        assert found["masks"].shape == expected["masks"].shape
        assert found["masks"].dtype == expected["masks"].dtype
        if match.moved == match.cut == 0:
            assert unequal_masks(expected["masks"][0], found["masks"][0], 1e-4) == 0
    return len(theirs)


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
