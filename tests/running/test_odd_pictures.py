"""Pictures of odd sizes: `doit detect` beside mmdet's own `inference_detector`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from partition_core.proof.comparison import Detections, match_detections
from partition_core.recipe.reader import read_recipe
from partition_core.sources.mmdet.detector import build_detector, quiet_mmdet
from partition_core.sources.traced import load_subject
from tests.projects import Scratch

from .builds import DETECTOR, PHOTOGRAPH

pytestmark = pytest.mark.thorough

LIMIT = 100
FREE = DETECTOR.replace(
    "  weights: {seed: 0}\nexport:\n",
    "    test_dataloader.dataset.pipeline.1.scale: [192, 192]\n"
    "  weights: {seed: 0}\nexport:\n"
    "  dynamic_axes: {input: {2: height, 3: width}}\n",
).replace("start: ['yolo_head:input'],", "start: ['yolo_head:input', 'detector_forward:input'],")
# Parts of the photograph of 512 x 600 pixels, by their corners, and the sizes that they get.
PICTURES = {
    "as it is": ((0, 0, 512, 600), (512, 600)),
    "on its side": ((0, 0, 512, 600), (600, 512)),
    "wide": ((0, 100, 512, 400), (333, 217)),
    "tall": ((100, 0, 400, 600), (217, 333)),
    "a strip": ((0, 200, 512, 300), (641, 97)),
    "a column": ((200, 0, 300, 600), (97, 641)),
    "square": ((0, 0, 512, 512), (192, 192)),
    "tiny": ((150, 50, 350, 350), (37, 53)),
    "large": ((0, 0, 512, 300), (799, 301)),
    "odd": ((31, 7, 287, 518), (255, 511)),
}
# Scaled to 192 and padded to multiples of 32 these are 192 x 192.
FITTING = {"as it is", "on its side", "square"}


@dataclass(frozen=True)
class Odd:
    """What was found in each picture, in each of two ways, and what the command said."""

    output: str
    tables: Mapping[str, dict[str, Any]]
    mmdet: Mapping[str, Detections]

    def found(self, name: str) -> Detections:
        told = self.tables[name]["detections"]
        boxes = np.array([one["box"] for one in told], dtype=np.float64).reshape(-1, 4)
        scores = np.array([one["score"] for one in told], dtype=np.float64)
        return Detections(boxes, scores, np.array([one["label"] for one in told]))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    whole = cv2.imread(str(PHOTOGRAPH))
    for name, ((left, top, right, low), size) in PICTURES.items():
        cv2.imwrite(str(folder / f"{name}.png"), cv2.resize(whole[top:low, left:right], size))
    return folder


def inferred(project: Scratch, recipe: str, pictures: Path) -> dict[str, Detections]:
    """Return what mmdet's `inference_detector` finds, clipped to the pictures as ours is."""
    file = read_recipe(project.folder / "recipes" / f"{recipe}.yaml", project.folder)
    with warnings.catch_warnings(), quiet_mmdet():
        warnings.simplefilter("ignore")
        model: Any = load_subject(file.recipe, project.folder, None).user_module
        _, model.cfg = build_detector(file.recipe.model, project.folder, "model")
        from mmdet.apis import inference_detector

        # YAML has lists only, and mmcv wants a tuple. 192 x 192 is what a fixed input makes of it.
        model.cfg.test_dataloader.dataset.pipeline[1].scale = (192, 192)
        model.cfg.test_pipeline = model.cfg.test_dataloader.dataset.pipeline
        found = {}
        for name, (_, (width, height)) in PICTURES.items():
            one = inference_detector(model, str(pictures / f"{name}.png")).pred_instances
            boxes = one.bboxes.clip(min=torch.zeros(4))
            boxes = boxes.clip(max=torch.tensor([width, height, width, height]))
            seen = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
            arrays = (a[seen].double().numpy() for a in (boxes, one.scores))
            found[name] = Detections(*arrays, one.labels[seen].numpy())
    return found


def detected(project: Scratch, recipe: str, pictures: Path) -> Odd:
    """Run `doit detect` once for all pictures."""
    output = project.built("detect", f"recipe={recipe}", f"image={pictures}", "out=odd")
    tables = {
        name: json.loads((project.folder / "odd" / f"{name}.detections.json").read_text())
        for name in PICTURES
    }
    return Odd(output, tables, inferred(project, recipe, pictures))


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Odd:
    """YOLOv3 with free height and width."""
    folder = tmp_path_factory.mktemp("free")
    project = Scratch(folder / "project", folder / "store")
    (project.folder / "recipes" / "tiny.yaml").unlink()
    project.write("recipes/free.yaml", FREE)
    return detected(project, "free", pictures)


@pytest.fixture(scope="module")
def fixed(detector: Scratch, pictures: Path) -> Odd:
    """YOLOv3 at 192 x 192."""
    return detected(detector, "yolov3", pictures)


@pytest.mark.parametrize("name", PICTURES)
def test_free_sizes_detect_as_mmdet_does(name: str, free: Odd) -> None:
    ours, theirs = free.found(name), free.mmdet[name]
    assert len(ours) == len(theirs) > 20
    match = match_detections(theirs, ours, 1e-4, LIMIT)
    assert match.holds and match.cut <= 2, match


def test_nothing_is_said_of_free_sizes(free: Odd) -> None:
    assert "10 pictures" not in free.output and "inference_detector" not in free.output
    assert not any("picture_note" in told for told in free.tables.values())


def test_a_fixed_input_detects_as_mmdet_does_in_what_fits_it_alone(fixed: Odd) -> None:
    for name in PICTURES:
        match = match_detections(fixed.mmdet[name], fixed.found(name), 1e-4, LIMIT)
        assert match.pairs > 20 or name not in FITTING
        assert match.holds is (name in FITTING), (name, match)


def test_the_command_its_tables_and_the_manifest_say_which_pictures_differ(
    fixed: Odd, detector: Scratch
) -> None:
    manifest = json.loads((detector.folder / "build" / "yolov3" / "manifest.json").read_text())
    note = manifest["export"]["picture_note"]
    assert "192 x 192" in note and "inference_detector" in note
    assert f"7 of 10 pictures: {note}\n" in fixed.output
    noted = {name: told.get("picture_note") for name, told in fixed.tables.items()}
    assert noted == {name: None if name in FITTING else note for name in PICTURES}
