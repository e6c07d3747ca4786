"""The known marks, by MMDeploy's names, find their places in models of the families they name."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from partition_core.recipe.reader import read_recipe
from partition_core.sources.traced import load_subject
from partition_core.trace.traceable_model import run_model

SMALL_TWO_STAGE = """
  overrides:
    model.backbone.depth: 18
    model.neck.in_channels: [64, 128, 256, 512]
    model.test_cfg.rpn.max_per_img: 50"""
RETINA = "retinanet/retinanet_r18_fpn_1x_coco.py"
FASTER = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
YOLOX = "yolox/yolox_tiny_8xb8-300e_coco.py"
RTMDET = "rtmdet/rtmdet_tiny_8xb32-300e_coco.py"
DETR = "detr/detr_r18_8xb2-500e_coco.py"
YOLOV3 = "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py"
SIDE = 64

MARKS = (
    (
        RETINA,
        {
            "extract_feat:output": {f"feat.{k}": (1, 256, 8 >> k, 8 >> k) for k in range(4)}
            | {"feat.4": (1, 256, 1, 1)},
            "multiclass_nms:input": {"boxes": (None, 4), "scores": (None,), "idxs": (None,)},
            "BaseDenseHead:output": {
                f"output.{side}.{k}": (1, channels, max(8 >> k, 1), max(8 >> k, 1))
                for side, channels in ((0, 720), (1, 36))
                for k in range(5)
            },
        },
    ),
    (
        FASTER,
        {
            "extract_feat:output": {f"feat.{k}": (1, 256, 16 >> k, 16 >> k) for k in range(5)},
            "roi_extractor:input.feats": {
                f"feats.{k}": (1, 256, 16 >> k, 16 >> k) for k in range(4)
            },
            "roi_extractor:output": {"bbox_feats": (50, 256, 7, 7)},
            "bbox_head_forward:output": {"cls_score": (50, 81), "bbox_pred": (50, 320)},
            "multiclass_nms[0]:output.keep": {"keep": (None,)},
            "multiclass_nms[1]:input": {"boxes": (None, 4), "scores": (None,), "idxs": (None,)},
        },
    ),
    (
        YOLOX,
        {
            "extract_feat:output": {f"feat.{k}": (1, 96, 8 >> k, 8 >> k) for k in range(3)},
            "BaseDenseHead:output": {
                f"output.{side}.{k}": (1, channels, 8 >> k, 8 >> k)
                for side, channels in enumerate((80, 4, 1))
                for k in range(3)
            },
            "multiclass_nms:input": {"boxes": (None, 4), "scores": (None,), "idxs": (None,)},
        },
    ),
    (
        RTMDET,
        {
            "rtmdet_head:input": {
                f"{name}.{k}": (1, channels, 8 >> k, 8 >> k)
                for name, channels in (("cls_scores", 80), ("bbox_preds", 4))
                for k in range(3)
            },
            "multiclass_nms:output": {"dets": (None, 5), "keep": (None,)},
        },
    ),
    (
        DETR,
        {
            "extract_feat:output": {"feat.0": (1, 256, 2, 2)},
            "detr_predict:input": {"input": (1, 3, SIDE, SIDE)},
            "detr_predict:output": {"dets": (1, 100, 5), "labels": (1, 100)},
            "BaseDenseHead:output": {"output.0": (1, 1, 100, 81), "output.1": (1, 1, 100, 4)},
        },
    ),
    (
        YOLOV3,
        {
            "yolo_head:input": {f"pred_maps.{k}": (1, 255, 2 << k, 2 << k) for k in range(3)},
            "multiclass_nms:input": {"boxes": (None, 4), "scores": (None,), "idxs": (None,)},
        },
    ),
)


@pytest.mark.parametrize(
    ("config", "expected"), MARKS, ids=lambda value: Path(str(value)).parent.name
)
def test_the_marks_meet_the_tensors_that_their_names_promise(
    config: str, expected: dict[str, dict[str, tuple[int | None, ...]]], tmp_path: Path
) -> None:
    text = tmp_path / "recipe.yaml"
    text.write_text(
        f"""\
model:
  source: mmdet
  config: {config}
  weights: {{seed: 0}}{SMALL_TWO_STAGE if config == FASTER else ""}
export:
  inputs: {{input: {{shape: [1, 3, {SIDE}, {SIDE}]}}}}
partition:
  type: one
  segments:
    - {{save_file: one.onnx, start: ['detector_forward:input'], end: {list(expected)}}}
"""
    )
    recipe = read_recipe(text, tmp_path).recipe
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject = load_subject(recipe, tmp_path, None)
        with subject.marked(recipe.marks) as marking:
            run_model(subject, subject.samples[0])
            marking.check_all_called(recipe.marks)
    met = {str(name): tuple(tensor.shape) for name, tensor in marking.tensors.items()}
    for reference, tensors in expected.items():
        found = {
            name.split(":")[1].split(".", 1)[1]: dims
            for name, dims in met.items()
            if f"{name}.".startswith(f"{reference.replace('[0]', '')}.")
        }
        assert found.keys() == tensors.keys(), reference
        for name, dims in tensors.items():
            pairs = zip(found[name], dims, strict=True)
            assert all(size == dim or (dim is None and size > 0) for size, dim in pairs), found
