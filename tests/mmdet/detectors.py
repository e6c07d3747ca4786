"""One small YOLOv3 exported once for all tests, and a second time for batches of two."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from partition_core.base.folders import RECORDING
from partition_core.base.recording import Recording, load_recording, save_recording
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
from partition_core.sources import traced
from partition_core.trace.traceable_model import TraceableModel
from tests.export.support import saved

from .exporting import exported_with_subject

CONFIG = "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py"
SIZE = 160
SMALL = {
    "model.backbone": {
        "_delete_": True,
        "type": "ResNet",
        "depth": 18,
        "base_channels": 16,
        "stem_channels": 16,
        "out_indices": [1, 2, 3],
    },
    "model.neck.in_channels": [128, 64, 32],
    "model.neck.out_channels": [32, 32, 32],
    "model.bbox_head.in_channels": [32, 32, 32],
    "model.bbox_head.out_channels": [32, 32, 32],
}
"""A third of the layers: what is tested here is the head, and what is exported of it."""
HEAD = "mmdet.models.dense_heads.YOLOV3Head.predict_by_feat"
Arrays = dict[str, np.ndarray]


def recipe(pictures: int = 1, config: str = CONFIG, size: int = SIZE, **overrides: str) -> Recipe:
    return Recipe(
        "yolov3",
        MmdetModel(config, tuple(sorted(overrides.items())), Seed(0)),
        ExportOptions((TensorSpec("input", (pictures, 3, size, size), "float32"),), (), (), 20),
        (
            Mark("detector_forward", "detector", None, ("input",), ("dets", "labels")),
            Mark("yolo_head", HEAD, None, ("pred_maps",), ()),
        ),
        Partition("yolov3_partition", SEGMENTS),
        Proof(1e-4, ()),
    )


SEGMENTS = (
    Segment(
        "yolov3.onnx",
        (MarkReference("detector_forward", "input"),),
        (MarkReference("yolo_head", "input"),),
    ),
    Segment(
        "postprocess.onnx",
        (MarkReference("yolo_head", "input"),),
        (MarkReference("detector_forward", "output"),),
    ),
)


@dataclass(frozen=True)
class Built:
    """An exported detector: its PyTorch model, what the export recorded, and files of its parts."""

    subject: TraceableModel
    recording: Recording
    folder: Path
    sessions: dict[Path, ort.InferenceSession]

    @property
    def file(self) -> Path:
        return self.folder / "end2end.onnx"

    @property
    def head(self) -> Any:
        return self.subject.user_module.bbox_head

    def run(self, file: Path, inputs: Arrays) -> Arrays:
        session = self.sessions.get(file)
        if session is None:
            options = ort.SessionOptions()
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.intra_op_num_threads = 1
            session = self.sessions[file] = ort.InferenceSession(str(file), options)
        names = [value.name for value in session.get_outputs()]
        return dict(zip(names, session.run(None, inputs), strict=True))

    def whole(self, picture: np.ndarray) -> Arrays:
        return self.run(self.file, {"input": picture})

    def postprocess(self, maps: list[np.ndarray]) -> Arrays:
        feeds = {f"pred_maps.{index}": one for index, one in enumerate(maps)}
        return self.run(self.folder / "postprocess.onnx", feeds)


def small(pictures: int, **overrides: str) -> Recipe:
    """Return the recipe of what `build` exports."""
    given = {key: json.dumps(value) for key, value in SMALL.items()}
    return recipe(pictures, **given, **overrides)


def build(folder: Path, pictures: int = 1, **overrides: str) -> Built:
    """Export a small detector into a folder, with its segments and its recording."""
    subject, exported = exported_with_subject(small(pictures, **overrides), folder)
    whole = saved(exported.model, folder)
    for segment in SEGMENTS:
        cut_file(whole, segment, folder / segment.save_file)
    save_recording(exported.recording, folder / RECORDING)
    return Built(subject, exported.recording, folder, {})


PAIR = {"model.test_cfg.max_per_img": "20"}


def build_pair(folder: Path) -> None:
    """Export the detector for two pictures at a time, with a limit of 20 detections for each."""
    build(folder, 2, **PAIR)


def load_pair(folder: Path) -> Built:
    """Return what `build_pair` exported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject = traced.load_subject(small(2, **PAIR), folder, None)
    return Built(subject, load_recording(folder / RECORDING), folder, {})


def metas(count: int) -> list[dict[str, Any]]:
    shape = (SIZE, SIZE)
    meta = {"img_shape": shape, "ori_shape": shape, "batch_input_shape": shape}
    return [{**meta, "scale_factor": (1.0, 1.0)} for _ in range(count)]


def mmdet_predicts(built: Built, pictures: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return dets (K, 5) and labels (K,) of each picture, from mmdet's own `predict`."""
    from mmdet.structures import DetDataSample

    samples = [DetDataSample(metainfo=meta) for meta in metas(len(pictures))]
    results = built.subject.user_module.predict(torch.from_numpy(pictures), samples, rescale=False)  # type: ignore[operator]
    return [_plain(result.pred_instances) for result in results]


def mmdet_postprocesses(
    built: Built, maps: list[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the same from mmdet's own `predict_by_feat` on given maps."""
    tensors = [torch.from_numpy(one.copy()) for one in maps]
    results = built.head.predict_by_feat(tensors, metas(len(maps[0])), rescale=False)
    return [_plain(result) for result in results]


def _plain(found: Any) -> tuple[np.ndarray, np.ndarray]:
    dets = torch.cat([found.bboxes, found.scores[:, None]], dim=1)
    return dets.numpy(), found.labels.numpy()
