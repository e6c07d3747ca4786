"""Configs that are no detector of mmdet 3, told with what to convert or to name instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from partition_core.base.errors import ExportError, Place
from partition_core.recipe.values import MmdetModel, Seed, canonical_json
from partition_core.sources.mmdet.detector import build_detector
from partition_core.sources.mmdet.pictures import imaginary_sample

from .detectors import recipe

PLACE = Place("recipes/x.yaml", 4, "model.config")
RETINANET = "retinanet/retinanet_r18_fpn_1x_coco.py"

MODEL = """
model = dict(
    type='RetinaNet',
    pretrained='torchvision://resnet18',
    backbone=dict(type='ResNet', depth=18, out_indices=(0, 1, 2, 3)),
    neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=16, start_level=1,
        add_extra_convs='on_input', num_outs=5),
    bbox_head=dict(
        type='RetinaHead', num_classes=3, in_channels=16, stacked_convs=1, feat_channels=16,
        anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss')))
test_cfg = dict(
    nms_pre=100, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)
img_norm_cfg = dict(mean=[123.0, 116.0, 103.0], std=[58.0, 57.0, 56.0], to_rgb=True)
"""
PIPELINE = """
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(1333, 800), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(samples_per_gpu=2, test=dict(type='CocoDataset', pipeline=pipeline))
"""


def built(root: Path, text: str, **overrides: Any) -> Any:
    (root / "own.py").write_text(text)
    values = tuple((key, canonical_json(value)) for key, value in overrides.items())
    return build_detector(MmdetModel("own.py", values, Seed(0)), root, PLACE)[0].detector


def refusal(root: Path, text: str) -> str:
    with pytest.raises(ExportError) as error:
        built(root, text)
    assert len(error.value.problems) == 1
    return str(error.value).removeprefix("recipes/x.yaml:4: model.config: config ")


def test_a_config_of_mmdet_2_is_told_with_everything_to_convert(tmp_path: Path) -> None:
    assert refusal(tmp_path, MODEL.replace("L1Loss", "L1Los") + PIPELINE) == (
        "'own.py' has the form of mmdet 2: it has no 'model.data_preprocessor', but has "
        "'img_norm_cfg', 'data', 'test_cfg' outside of 'model', 'model.pretrained', "
        "the step 'MultiScaleFlipAug', the step 'Normalize', the step 'ImageToTensor', "
        "the step 'Collect'; expected the form of mmdet 3; "
        "write 'img_norm_cfg' as model.data_preprocessor = dict(type='DetDataPreprocessor', "
        "mean=[123.0, 116.0, 103.0], std=[58.0, 57.0, 56.0], bgr_to_rgb=True, "
        "pad_size_divisor=32); "
        "write 'data.test' as test_dataloader = dict(dataset=dict(type=…, "
        "pipeline=test_pipeline)); "
        "in the pipeline, for 'MultiScaleFlipAug' write its 'transforms', and 'scale' in Resize "
        "for its 'img_scale', for 'ImageToTensor' leave it out, "
        "for 'Collect' write dict(type='PackDetInputs'); "
        "replace 'L1Los', which mmdet 3 does not have (did you mean 'L1Loss'?); "
        "leave out 'model.pretrained': the recipe's 'weights' are the only ones; "
        "write 'test_cfg' as model.test_cfg"
    )


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ("img_norm_cfg = dict(mean=[1.0])", "write 'img_norm_cfg' as model.data_preprocessor"),
        ("model = dict(pretrained='x')", "leave out 'model.pretrained'"),
        ("data = dict(test=dict())", "write 'data.test' as test_dataloader"),
        ("test_cfg = dict(nms_pre=9)", "write 'test_cfg' as model.test_cfg"),
        ("test_pipeline = [dict(type='Collect')]", "write dict(type='PackDetInputs')"),
    ],
)
def test_a_single_part_in_the_form_of_mmdet_2_is_told(kept: str, told: str, tmp_path: Path) -> None:
    base = "model = dict(type='RetinaNet')\n" if not kept.startswith("model") else ""
    message = refusal(tmp_path, base + kept.replace("dict(pre", "dict(type='RetinaNet', pre"))
    assert "has the form of mmdet 2" in message
    assert told in message


def test_what_is_left_of_mmdet_2_in_a_converted_config_is_no_hindrance(tmp_path: Path) -> None:
    text = MODEL.replace("test_cfg = ", "model['test_cfg'] = ") + PIPELINE
    preprocessor = {"type": "DetDataPreprocessor", "mean": [0] * 3, "std": [1] * 3}
    assert (
        built(tmp_path, text, **{"model.data_preprocessor": preprocessor}).test_cfg.nms_pre == 100
    )


def test_a_config_without_a_preprocessor_of_pictures_is_told(tmp_path: Path) -> None:
    text = f"_base_ = 'mmdet::{RETINANET}'\nmodel = dict(data_preprocessor=None)\n"
    assert refusal(tmp_path, text) == (
        "'own.py' has no 'model.data_preprocessor', which batches and "
        "normalizes pictures; expected model.data_preprocessor = dict(type='DetDataPreprocessor', "
        "mean=[…], std=[…], bgr_to_rgb=True, pad_size_divisor=32) with the values from its training"
    )


def test_a_preprocessor_that_makes_no_batch_is_told(tmp_path: Path) -> None:
    class Listing:
        data_preprocessor = staticmethod(lambda batch, _: batch)

    given: Any = Listing()
    with pytest.raises(ExportError) as error:
        imaginary_sample(recipe(), given, PLACE)
    assert "its data preprocessor, a function, returns no batch of pictures: TypeError" in str(
        error.value
    )


AUGMENTED = "model = dict(type='DetTTAModel', module=dict(type='RetinaNet'))\n"


@pytest.mark.parametrize(
    "text", ["_base_ = 'mmdet::rtmdet/rtmdet_tta.py'\n", AUGMENTED], ids=["shipped", "built"]
)
def test_test_time_augmentation_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, text) == (
        "'own.py' is for test-time augmentation, which merges a detector's results for several "
        "variants of a picture; expected the config of a detector, which is exported for one "
        "variant of each picture; name the detector's own config, without 'tta_model'"
    )


def test_a_detector_whose_config_also_has_an_augmentation_is_built(tmp_path: Path) -> None:
    text = f"_base_ = ['mmdet::{RETINANET}', 'mmdet::retinanet/retinanet_tta.py']\n"
    assert type(built(tmp_path, text)).__name__ == "RetinaNet"


def test_a_config_that_holds_no_model_is_told(tmp_path: Path) -> None:
    told = refusal(tmp_path, "_base_ = 'mmdet::_base_/schedules/schedule_1x.py'\n")
    assert told == (
        "'own.py' cannot be built: it has no 'model'; expected the config of a detector; "
        "name a config that inherits from this one"
    )
