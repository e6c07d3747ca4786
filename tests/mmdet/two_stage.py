"""A small Mask R-CNN, exported once, and parts of it that crafted tensors can be put into."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partition_core.base.recording import Recording
from partition_core.graph.files import cut_file
from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.values import (
    ExportOptions,
    Mark,
    MmdetModel,
    Partition,
    Proof,
    Recipe,
    Seed,
    Segment,
    TensorSpec,
)
from partition_core.trace.traceable_model import TraceableModel
from tests.export.support import run, saved

from .exporting import exported_with_subject

SIDE = 128
WIDTH = 32
SMALL = {
    "model.backbone.depth": 18,
    "model.neck.in_channels": [64, 128, 256, 512],
    "model.neck.out_channels": WIDTH,
    "model.rpn_head.in_channels": WIDTH,
    "model.rpn_head.feat_channels": WIDTH,
    "model.roi_head.bbox_roi_extractor.out_channels": WIDTH,
    "model.roi_head.bbox_head.in_channels": WIDTH,
    "model.roi_head.bbox_head.fc_out_channels": 64,
    "model.roi_head.bbox_head.num_classes": 7,
    "model.test_cfg.rpn.nms_pre": 100,
    "model.test_cfg.rpn.max_per_img": 60,
    "model.test_cfg.rcnn.max_per_img": 20,
}
SMALL_MASKS = {
    "model.roi_head.mask_roi_extractor.out_channels": WIDTH,
    "model.roi_head.mask_head.in_channels": WIDTH,
    "model.roi_head.mask_head.conv_out_channels": WIDTH,
    "model.roi_head.mask_head.num_classes": 7,
}
HEADS = "mmdet.models.dense_heads.RPNHead.predict_by_feat"
BOXES = "mmdet.models.roi_heads.bbox_heads.BBoxHead.predict_by_feat"
MARKS = (
    Mark("detector_forward", "detector", None, ("input",), ("dets", "labels", "masks")),
    Mark("feats", "mmdet.models.detectors.two_stage.TwoStageDetector.extract_feat", None, (), None),
    Mark("rpn", HEADS, None, ("cls_scores", "bbox_preds"), ()),
    Mark("boxes", BOXES, None, ("rois", "cls_scores", "bbox_preds"), ()),
)
LEVELS = tuple(MarkReference("feats", "output", 0, ("output", str(k))) for k in range(4))
OUTPUT = (MarkReference("detector_forward", "output"),)
SEGMENTS = (
    Segment("from_rpn.onnx", (*LEVELS, MarkReference("rpn", "input")), OUTPUT),
    Segment("from_boxes.onnx", (*LEVELS, MarkReference("boxes", "input")), OUTPUT),
)
META = {
    "img_shape": (SIDE, SIDE),
    "ori_shape": (SIDE, SIDE),
    "batch_input_shape": (SIDE, SIDE),
    "scale_factor": (1.0, 1.0),
}
Arrays = dict[str, np.ndarray]


def overridden(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, json.dumps(value)) for key, value in values.items()))


def recipe() -> Recipe:
    return Recipe(
        "mask-rcnn",
        MmdetModel(
            "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", overridden(SMALL | SMALL_MASKS), Seed(0)
        ),
        ExportOptions((TensorSpec("input", (1, 3, SIDE, SIDE), "float32"),), (), (), 20),
        MARKS,
        Partition("two_stage_parts", SEGMENTS),
        Proof(1e-4, ()),
    )


@dataclass(frozen=True)
class MaskRcnn:
    """The PyTorch model, what eager PyTorch saw and gave, and the folder of the exported parts."""

    subject: TraceableModel
    recording: Recording
    folder: Path

    def feats(self) -> Arrays:
        marks = self.recording.samples[0].marks
        return {f"output.{k}": marks[f"feats:output.output.{k}"] for k in range(4)}

    def maps(self) -> Arrays:
        """Return the maps of the region proposals that PyTorch saw for the first picture."""
        start = "rpn:input."
        found = self.recording.samples[0].marks.items()
        return {k.removeprefix(start): array.copy() for k, array in found if k.startswith(start)}

    def exported(self, part: str, **given: np.ndarray) -> Arrays:
        """Return what a part of the export gives for tensors, beside the picture's features."""
        return run(self.folder / part, {**self.feats(), **given})

    def from_rpn(self, maps: Arrays) -> Arrays:
        """Return what mmdet gives for maps of the region proposals."""
        own: Any = self.subject.user_module
        scores, boxes = (
            [torch.from_numpy(maps[f"{name}.{level}"]) for level in range(5)]
            for name in ("cls_scores", "bbox_preds")
        )
        proposals = own.rpn_head.predict_by_feat(scores, boxes, batch_img_metas=[META])
        found = own.roi_head.predict_bbox(
            self._levels(), [META], proposals, own.roi_head.test_cfg, rescale=False
        )
        return self._with_masks(found)

    def from_boxes(self, rois: np.ndarray, scores: np.ndarray, boxes: np.ndarray) -> Arrays:
        """Return what mmdet gives for regions and what the box head said about them."""
        own: Any = self.subject.user_module
        given = [(torch.from_numpy(array),) for array in (rois, scores, boxes)]
        found = own.roi_head.bbox_head.predict_by_feat(
            *given, batch_img_metas=[META], rcnn_test_cfg=own.roi_head.test_cfg
        )
        return self._with_masks(found)

    def _levels(self) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(array) for array in self.feats().values())

    def _with_masks(self, found: Any) -> Arrays:
        from partition_core.sources.mmdet.masks import unpasted_masks

        own: Any = self.subject.user_module
        with unpasted_masks(own):
            (one,) = own.roi_head.predict_mask(self._levels(), [META], found, rescale=False)
        dets = torch.cat([one.bboxes, one.scores[:, None]], dim=1)
        named = {"dets": dets, "labels": one.labels, "masks": one.masks}
        return {name: tensor[None].numpy() for name, tensor in named.items()}


def build(folder: Path) -> MaskRcnn:
    subject, exported = exported_with_subject(recipe(), folder)
    whole = saved(exported.model, folder)
    for segment in SEGMENTS:
        cut_file(whole, segment, folder / segment.save_file)
    return MaskRcnn(subject, exported.recording, folder)
