"""Overrides of an mmdet config: which keys a part of it takes, without building a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from partition_core.base.errors import ExportError, Place
from partition_core.recipe.values import MmdetModel, Seed, canonical_json
from partition_core.sources.mmdet.configs import find_config
from partition_core.sources.mmdet.detector import quiet_mmdet
from partition_core.sources.mmdet.ops import provide_compiled_ops
from partition_core.sources.mmdet.overrides import override

PLACE = Place("recipes/x.yaml", 4, "model.config")
FASTER_RCNN = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
MASK_RCNN = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
YOLOV3 = "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py"
RETINANET = "retinanet/retinanet_r18_fpn_1x_coco.py"
DETR = "detr/detr_r50_8xb2-150e_coco.py"
RTMDET_INS = "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py"
MASK2FORMER = "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py"
CORNERNET = "cornernet/cornernet_hourglass104_10xb5-crop511-210e-mstest_coco.py"

OWN_HEAD = """
from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS


@MODELS.register_module(force=True)
class ReadingHead(RetinaHead):
    def predict_by_feat(self, *args, cfg=None, **kwargs):
        cfg = self.test_cfg if cfg is None else cfg
        if cfg.get("sharpen", False):
            raise NotImplementedError
        return super().predict_by_feat(*args, cfg=cfg, **kwargs)
"""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_mmdet():
        provide_compiled_ops()
        yield


def overridden(config: str, key: str, value: Any, root: Path) -> Any:
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    loaded = Config.fromfile(str(find_config(config, root, PLACE)))
    model = MmdetModel(config, ((key, canonical_json(value)),), Seed(0))
    override(loaded, model, PLACE)
    return loaded


def refusal(config: str, key: str, value: Any, root: Path) -> str:
    with pytest.raises(ExportError) as error:
        overridden(config, key, value, root)
    assert len(error.value.problems) == 1
    return str(error.value)


ACCEPTED = {
    "what a function takes beside the tensors": (RETINANET, "model.test_cfg.nms.max_num", 9),
    "what a function reads before": (RETINANET, "model.test_cfg.nms.class_agnostic", True),
    "and for a part of two stages": (FASTER_RCNN, "model.test_cfg.rcnn.nms.split_thr", 99),
    "what the function that is named takes": (CORNERNET, "model.test_cfg.nms.sigma", 0.5),
    "what a head reads by 'get'": (YOLOV3, "model.test_cfg.min_bbox_size", 3),
    "what the head of the masks reads": (MASK_RCNN, "model.test_cfg.rcnn.mask_thr_binary", 0.4),
    "what the head of the boxes reads": (
        FASTER_RCNN, "model.test_cfg.rcnn", {"_delete_": True, "score_thr": 0.1}),
    "what a base of the head reads": (RTMDET_INS, "model.test_cfg.min_bbox_size", 2),
    "what a fusion head reads": (MASK2FORMER, "model.test_cfg.object_mask_thr", 0.7),
    "what a detector reads": (MASK2FORMER, "model.test_cfg.semantic_on", True),
    "a parameter of a class": (RETINANET, "model.backbone.with_cp", True),
    "of a class without a type": (DETR, "model.encoder.layer_cfg.self_attn_cfg.batch_first", True),
    "of a class without a type, further out": (DETR, "model.decoder.post_norm_cfg", None),
    "what a builder takes for itself": (RETINANET, "model.backbone.norm_cfg.eps", 1e-3),
    "keys of a mapping": (RETINANET, "model.test_cfg", {"nms": {"class_agnostic": True}}),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_key_that_is_read_may_be_added(case: str, tmp_path: Path) -> None:
    config, key, value = ACCEPTED[case]
    found = overridden(config, key, value, tmp_path)
    for step in key.split("."):
        found = found[step]
    if isinstance(value, dict) and "nms" in value:
        assert found["nms"] == {"type": "nms", "iou_threshold": 0.5, "class_agnostic": True}
    else:
        assert found == (value if not isinstance(value, dict) else {"score_thr": 0.1})


REFUSED = {
    "misspelt beside one that is there": (
        RETINANET, "model.test_cfg.nms.iou_treshold", 0.4, "model.test_cfg.nms.iou_threshold"),
    "misspelt of those that are read": (
        RETINANET, "model.test_cfg.nms.clas_agnostic", True, "model.test_cfg.nms.class_agnostic"),
    "of another function": (RETINANET, "model.test_cfg.nms.min_score", 0.5, ""),
    "misspelt of the head's": (
        RETINANET, "model.test_cfg.max_per_image", 7, "model.test_cfg.max_per_img"),
    "of another stage": (FASTER_RCNN, "model.test_cfg.rpn.score_thr", 0.1, ""),
    "of another stage's masks": (MASK_RCNN, "model.test_cfg.rpn.mask_thr_binary", 0.1, ""),
    "of training": (RETINANET, "model.test_cfg.pos_weight", -1, ""),
    "of another part's class": (
        DETR, "model.encoder.layer_cfg.self_attn_cfg.embed_dim", 9,
        "model.encoder.layer_cfg.self_attn_cfg.embed_dims"),
    "inside a mapping": (
        RETINANET, "model", {"test_cfg": {"nms": {"clas_agnostic": True}}},
        "model.test_cfg.nms.class_agnostic"),
    "inside a mapping with another type": (
        RETINANET, "model.backbone", {"type": "ResNeXt", "grups": 2}, "model.backbone.groups"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_key_that_nothing_reads_is_refused_with_the_nearest(case: str, tmp_path: Path) -> None:
    config, key, value, near = REFUSED[case]
    told = refusal(config, key, value, tmp_path)
    assert told.startswith(
        f"recipes/x.yaml:4: model.config: config '{config}' has no '{key}"
        if not isinstance(value, dict)
        else f"recipes/x.yaml:4: model.config: config '{config}' has no 'model."
    )
    assert told.endswith(f"; did you mean '{near}'?") if near else "did you mean" not in told


def test_what_the_users_own_code_reads_may_be_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reading_head.py").write_text(OWN_HEAD)
    (tmp_path / "own.py").write_text(
        f"_base_ = 'mmdet::{RETINANET}'\n"
        "custom_imports = dict(imports=['reading_head'])\n"
        "model = dict(bbox_head=dict(type='ReadingHead'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert overridden("own.py", "model.test_cfg.sharpen", True, tmp_path).model.test_cfg.sharpen
    told = refusal("own.py", "model.test_cfg.sharpn", True, tmp_path)
    assert told.endswith("did you mean 'model.test_cfg.sharpen'?")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("model.bbox_head.num_classes", {"a": 1}, "add '_delete_: true' to the mapping"),
        ("model.neck.in_channels", {"9": 1}, "cannot be merged with this one"),
        ("model.neck.in_channels.9", 1, "has no 'model.neck.in_channels.9' to override"),
    ],
)
def test_a_value_that_cannot_take_the_place_is_told(
    key: str, value: Any, told: str, tmp_path: Path
) -> None:
    assert told in refusal(RETINANET, key, value, tmp_path)


def test_a_mapping_may_take_the_place_of_another_one(tmp_path: Path) -> None:
    value = {"_delete_": True, "type": "soft_nms", "sigma": 0.5}
    config = overridden(RETINANET, "model.test_cfg.nms", value, tmp_path)
    assert config.model.test_cfg.nms == {"type": "soft_nms", "sigma": 0.5}
