"""A policy for another kind of detector is refused before the export, with those that fit."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from torch import nn

from partition_core.base.errors import ExportError, Place
from partition_core.recipe.names import recipe_names
from partition_core.recipe.policies import POLICIES
from partition_core.recipe.policy_fits import check_policy
from partition_core.recipe.values import MmdetModel, Seed
from partition_core.sources.mmdet.detector import build_detector
from partition_core.sources.mmdet.source import parts_of

DEPTH = (("model.backbone.depth", "18"), ("model.neck.in_channels", "[64, 128, 256, 512]"))
FITTING = {
    "retinanet/retinanet_r18_fpn_1x_coco.py": {"single_stage", "no_postprocess", "backbone_head"},
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py": {"two_stage", "backbone_head"},
    "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py": {"two_stage_masks", "backbone_head"},
    "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py": {"backbone_head"},
    "detr/detr_r18_8xb2-500e_coco.py": {"no_postprocess", "backbone_head"},
    "yolact/yolact_r50_1xb8-55e_coco.py": {"backbone_head"},
    "solo/solo_r50_fpn_1x_coco.py": {"backbone_head"},
}


@cache
def detector(config: str) -> nn.Module:
    overrides = () if "r18" in config else DEPTH
    model = MmdetModel(config, overrides, Seed(0))
    return build_detector(model, Path("/nowhere"), Place("recipes/x.yaml"))[0].detector


def told(policy: str, config: str) -> str:
    try:
        made = detector(config)
        check_policy(policy, type(made).__name__, parts_of(made), "partition.type")
    except ExportError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("config", FITTING)
def test_a_policy_of_another_kind_names_those_that_fit(config: str) -> None:
    shared = set(recipe_names(POLICIES))
    assert {one for one in shared if not told(one, config)} == FITTING[config]
    for policy in shared - FITTING[config]:
        words = told(policy, config)
        assert {one for one in shared if f"'{one}'" in words.split("; use ")[1]} == FITTING[config]


def test_the_message_says_what_the_detector_lacks() -> None:
    assert told("two_stage", "retinanet/retinanet_r18_fpn_1x_coco.py").endswith(
        "policy 'two_stage' does not fit a RetinaNet; it is for two-stage detectors, and this one "
        "has no RoI head; use 'single_stage' or 'no_postprocess' or 'backbone_head'"
    )
