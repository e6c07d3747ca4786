"""Recipes of what is built to be run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch

from tests.projects import Scratch

PHOTOGRAPH = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
DETECTOR = """\
model:
  source: mmdet
  config: yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py
  overrides:
    model.backbone:
      {_delete_: true, type: ResNet, depth: 18, base_channels: 16, stem_channels: 16,
       out_indices: [1, 2, 3]}
    model.neck.in_channels: [128, 64, 32]
    model.neck.out_channels: [32, 32, 32]
    model.bbox_head.in_channels: [32, 32, 32]
    model.bbox_head.out_channels: [32, 32, 32]
  weights: {seed: 0}
export:
  inputs: {input: {shape: [1, 3, 192, 192]}}
marks:
  - {name: detector_forward, on: detector, inputs: [input], outputs: [dets, labels]}
  - name: yolo_head
    on: mmdet.models.dense_heads.YOLOV3Head.predict_by_feat
    inputs: [pred_maps]
    outputs: []
partition:
  type: yolov3_partition
  segments:
    - {save_file: yolov3.onnx, start: ['detector_forward:input'], end: ['yolo_head:input']}
    - {save_file: postprocess.onnx, start: ['yolo_head:input'], end: ['detector_forward:output']}
"""
BODY = "    - {save_file: body.onnx, start: ['whole:input'], end: ['decode:input']}\n"


GRAY_DETECTOR = """\
model:
  source: mmdet
  config: retinanet/retinanet_r18_fpn_1x_coco.py
  overrides:
    model.backbone.in_channels: 1
    model.data_preprocessor.mean: [110]
    model.data_preprocessor.std: [60]
    model.data_preprocessor.bgr_to_rgb: false
    test_dataloader.dataset.pipeline.0.color_type: grayscale
    test_dataloader.dataset.pipeline.1.scale: [128, 128]
  weights: {seed: 0}
export:
  inputs: {input: {shape: [1, 1, 128, 128]}}
partition: {type: single_stage}
"""


@dataclass(frozen=True)
class GrayDetector:
    """A project with the built recipe `gray`, a RetinaNet of one channel, and its mmdet model."""

    project: Scratch
    model: torch.nn.Module

    @property
    def build(self) -> Path:
        return self.project.folder / "build" / "gray"
