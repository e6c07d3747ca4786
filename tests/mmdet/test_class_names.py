"""The names of labels: those of the data set if it has as many as the detector, else none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from partition_core.base.errors import Place
from partition_core.recipe.values import ExportOptions, MmdetModel, Seed, TensorSpec, canonical_json
from partition_core.sources.mmdet.detector import build_detector
from partition_core.sources.mmdet.preparation import picture_notes

PLACE = Place("recipes/x.yaml", 4, "model.config")
EXPORT = ExportOptions((TensorSpec("input", (1, 3, 96, 96), "float32"),), (), (), 20)


def names(config: str, root: Path, **overrides: Any) -> list[str]:
    values = tuple((key, canonical_json(value)) for key, value in overrides.items())
    built, loaded = build_detector(MmdetModel(config, values, Seed(0)), root, PLACE)
    found: list[str] = picture_notes(loaded, built.detector, EXPORT).get("classes", [])
    return found


STAGES = "model.roi_head.bbox_head.{}.num_classes"
CASCADE = {
    "model.backbone.depth": 18,
    "model.neck.in_channels": [64, 128, 256, 512],
}
OTHER = {
    "a cascade": (
        "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
        {**CASCADE, **{STAGES.format(stage): 26 for stage in range(3)}},
    ),
    "two stages": ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", {STAGES.replace(".{}", ""): 26}),
    "one stage": ("retinanet/retinanet_r18_fpn_1x_coco.py", {"model.bbox_head.num_classes": 26}),
    "masks alone": ("solo/solo_r50_fpn_1x_coco.py", {"model.mask_head.num_classes": 26}),
    "regions without classes": ("rpn/rpn_r50_fpn_1x_coco.py", {}),
}


@pytest.mark.parametrize("kind", OTHER)
def test_a_detector_with_another_number_of_classes_gets_no_names(kind: str, tmp_path: Path) -> None:
    config, overrides = OTHER[kind]
    assert names(config, tmp_path, **overrides) == []
    told = {"test_dataloader.dataset.metainfo": {"classes": [f"c{number}" for number in range(26)]}}
    assert len(names(config, tmp_path, **overrides, **told)) == (26 if overrides else 0)


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ("cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py", CASCADE),
        ("solo/solo_r50_fpn_1x_coco.py", {}),
        ("mask2former/mask2former_r50_8xb2-lsj-50e_coco.py", {}),
    ],
)
def test_a_detector_with_the_classes_of_its_data_set_gets_their_names(
    config: str, overrides: dict[str, Any], tmp_path: Path
) -> None:
    found = names(config, tmp_path, **overrides)
    assert len(found) == 80
    assert found[:2] == ["person", "bicycle"]


@pytest.mark.parametrize("where", ["", "teacher", "detector"])
def test_a_detector_inside_another_one_tells_its_classes(where: str, tmp_path: Path) -> None:
    class Head(nn.Module):
        num_classes = 3

    own: Any = SimpleNamespace(roi_head=SimpleNamespace(bbox_head=nn.ModuleList([Head(), Head()])))
    given = SimpleNamespace(**{where: own}) if where else own
    _, config = build_detector(MmdetModel(OTHER["one stage"][0], (), Seed(0)), tmp_path, PLACE)
    assert "classes" not in picture_notes(config, given, EXPORT)
    config.test_dataloader.dataset.metainfo = {"classes": ("a", "b", "c")}
    assert picture_notes(config, given, EXPORT)["classes"] == ["a", "b", "c"]


def test_a_detector_that_tells_no_number_gets_no_names(tmp_path: Path) -> None:
    _, config = build_detector(MmdetModel(OTHER["one stage"][0], (), Seed(0)), tmp_path, PLACE)
    assert "classes" not in picture_notes(config, nn.Identity(), EXPORT)
