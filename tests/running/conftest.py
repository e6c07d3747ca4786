"""Build folders that are run: of a tiny model, with and without a gap, and of small detectors."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

from partition_core.recipe.reader import read_recipe
from partition_core.sources.traced import load_subject
from tests.scenario.conftest import RECIPE, Scratch

DETECTOR = """\
model:
  source: mmdet
  config: yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py
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


@pytest.fixture(scope="session")
def photograph() -> Path:
    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A project with the tiny recipe, and `gap`, which lacks the first of its segments."""
    folder = tmp_path_factory.mktemp("run")
    project = Scratch(folder / "project", folder / "store")
    assert BODY in RECIPE
    project.edit("recipes/tiny.yaml", BODY, "")
    project.built()
    shutil.copytree(project.folder / "build" / "tiny", project.folder / "build" / "gap")
    project.write("recipes/tiny.yaml", RECIPE)
    project.built()
    return project


@pytest.fixture(scope="session")
def tiny_build(tiny: Scratch) -> Path:
    return tiny.folder / "build" / "tiny"


@pytest.fixture(scope="session")
def gap_build(tiny: Scratch) -> Path:
    return tiny.folder / "build" / "gap"


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A project with one recipe, `yolov3`: YOLOv3 on MobileNetV2 at 192 x 192, built."""
    folder = tmp_path_factory.mktemp("detector")
    project = Scratch(folder / "project", folder / "store")
    (project.folder / "recipes" / "tiny.yaml").unlink()
    project.write("recipes/yolov3.yaml", DETECTOR)
    project.built()
    return project


@pytest.fixture(scope="session")
def detector_build(detector: Scratch) -> Path:
    return detector.folder / "build" / "yolov3"


@pytest.fixture(scope="session")
def parts(detector: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A project with the recipes `network` and `tail`, each with one segment of `detector`'s."""
    project = Scratch(tmp_path_factory.mktemp("parts") / "project", detector.store)
    (project.folder / "recipes" / "tiny.yaml").unlink()
    *head, network, tail = DETECTOR.splitlines(keepends=True)
    for name, segment in (("network", network), ("tail", tail)):
        project.write(f"recipes/{name}.yaml", "".join((*head, segment)))
    project.built()
    return project


@pytest.fixture
def image() -> np.ndarray:
    """An input of the tiny model."""
    return np.random.default_rng(7).standard_normal((1, 3, 32, 32), dtype=np.float32)


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


@pytest.fixture(scope="session")
def gray(tmp_path_factory: pytest.TempPathFactory) -> GrayDetector:
    """A detector of gray pictures whose weights are a checkpoint."""
    folder = tmp_path_factory.mktemp("gray")
    project = Scratch(folder / "project", folder / "store")
    project.environment["PARTITION_CORE_REPORT"] = "1"
    (project.folder / "recipes" / "tiny.yaml").unlink()
    recipe = project.folder / "recipes" / "gray.yaml"
    recipe.write_text(GRAY_DETECTOR)
    file = read_recipe(recipe, project.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = load_subject(file.recipe, project.folder, file.place, None).own
    torch.save(model.state_dict(), project.folder / "gray.pth")
    digest = hashlib.sha256((project.folder / "gray.pth").read_bytes()).hexdigest()
    project.edit("recipes/gray.yaml", "{seed: 0}", f"{{checkpoint: gray.pth, sha256: '{digest}'}}")
    project.built()
    return GrayDetector(project, model)
