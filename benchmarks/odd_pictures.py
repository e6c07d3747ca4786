"""How detections differ from mmdet's `inference_detector` on pictures of odd sizes, and why.

    python benchmarks/odd_pictures.py

builds two detectors in a project that is made for it, each with a fixed input and with free sizes.
For each of ten pictures it prints how many of mmdet's detections have no equal among ours, after
clipping to the picture (same label, box within 0.1 pixels, score within 1e-4), and splits that by
exchanging one thing after the other in PyTorch:
`rounding` is our models against PyTorch on our input; `edge` is PyTorch once it knows where the
picture ends and clips boxes there; `padding` is PyTorch on our input against PyTorch on mmdet's.
`far` counts those of mmdet's detections that have none of the same label at an overlap of one half.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from processes import ROOT

from partition_core import Pipeline
from partition_core.base.arrays import Array
from partition_core.recipe.reader import read_recipe
from partition_core.runtime.detections import Detection, in_picture
from partition_core.runtime.preprocessing import Frame
from partition_core.sources.mmdet.detector import build_detector, quiet_mmdet
from partition_core.sources.mmdet.pictures import sample_photograph
from partition_core.sources.traced import load_subject

SIZES = (
    *((512, 600), (600, 512), (333, 217), (217, 333), (641, 97)),
    *((97, 641), (320, 320), (37, 53), (799, 301), (255, 511)),
)


CONFIGS = {
    "yolov3": "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py",
    "retinanet": "retinanet/retinanet_r18_fpn_1x_coco.py",
}
RECIPE = """\
model:
  source: mmdet
  config: {config}
  overrides: {{test_dataloader.dataset.pipeline.1.scale: [320, 320]}}
  weights: {{seed: 0}}
export:
  inputs: {{input: {{shape: [1, 3, 320, 320]}}}}
  dynamic_axes: {axes}
partition: {{type: single_stage}}
"""
AXES = {"fixed": "{}", "free": "{input: {2: height, 3: width}}"}


def main() -> None:
    """Print a line for each detector and picture."""
    warnings.simplefilter("ignore")
    photograph = cv2.imread(str(sample_photograph()))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for recipe in built():
            model, pipeline = mmdets(recipe), Pipeline(Path("build", recipe))
            for size in SIZES:
                told = compared(model, pipeline, cv2.resize(photograph, size))
                print(json.dumps({"recipe": recipe, "picture": size, **told}), flush=True)


def built() -> list[str]:
    """Build all detectors in the current folder; return their recipes."""
    shutil.copy(ROOT / "dodo.py", "dodo.py")
    Path("recipes").mkdir()
    recipes = [f"{model}-{kind}" for model in CONFIGS for kind in AXES]
    for recipe in recipes:
        model, kind = recipe.split("-")
        text = RECIPE.format(config=CONFIGS[model], axes=AXES[kind])
        Path("recipes", f"{recipe}.yaml").write_text(text)
    environment = {**os.environ, "PARTITION_CORE_STORE": "store", "PARTITION_CORE_REPORT": "0"}
    subprocess.run(
        [sys.executable, "-m", "doit", "build"], env=environment, check=True, stdout=sys.stderr
    )
    return recipes


def mmdets(recipe: str) -> Any:
    """Return the PyTorch model of a recipe, with its config as mmdet's functions want it."""
    root = Path.cwd()
    file = read_recipe(root / "recipes" / f"{recipe}.yaml", root)
    model: Any = load_subject(file.recipe, root, None).user_module
    with quiet_mmdet():
        _, config = build_detector(file.recipe.model, root, "model")  # type: ignore[arg-type]  # reason: only recipes of mmdet are measured
    for step in config.test_dataloader.dataset.pipeline:
        if "scale" in step:
            step["scale"] = tuple(step["scale"])  # YAML knows lists only, mmcv wants a tuple
    config.test_pipeline = config.test_dataloader.dataset.pipeline
    model.cfg = config
    return model


def compared(model: Any, pipeline: Pipeline, picture: Array) -> dict[str, Any]:
    """Return how many detections differ, in all and by each reason."""
    prepared = pipeline.preprocess(picture)
    (array,), (frame,) = prepared.inputs.values(), prepared.frames
    (ours,) = pipeline.detect(picture)
    theirs = inferred(model, picture)
    whole, inside = (predicted(model, array, frame, is_clipped) for is_clipped in (False, True))
    return {
        "input": array.shape[2:],
        "mmdet": len(theirs),
        "different": unmatched(theirs, ours),
        "rounding": unmatched(whole, ours),
        "edge": unmatched(inside, whole),
        "padding": unmatched(theirs, inside),
        "far": sum(not any(overlap(one, other) > 0.5 for other in ours) for one in theirs),
    }


def inferred(model: Any, picture: Array) -> list[Detection]:
    """Return what mmdet's `inference_detector` finds, clipped to the picture."""
    from mmdet.apis import inference_detector

    found = inference_detector(model, picture).pred_instances
    height, width = picture.shape[:2]
    return listed(found, Frame(width, height, 1.0, 1.0))


def predicted(model: Any, array: Array, frame: Frame, is_clipped: bool) -> list[Detection]:
    """Return what mmdet finds in our input; if `is_clipped`, it knows where the picture ends."""
    from mmdet.structures import DetDataSample

    canvas = array.shape[2:]
    end = (round(frame.height * frame.y), round(frame.width * frame.x))
    shape = end if is_clipped else canvas
    meta = {
        "img_shape": shape,
        "ori_shape": shape,
        "batch_input_shape": canvas,
        "pad_shape": canvas,
        "scale_factor": (1.0, 1.0),
    }
    with torch.no_grad():
        sample = DetDataSample(metainfo=meta)
        (result,) = model.predict(torch.from_numpy(array), [sample], rescale=False)
    return listed(result.pred_instances, frame)


def listed(found: Any, frame: Frame) -> list[Detection]:
    """Return mmdet's instances as detections in the picture."""
    dets = torch.cat([found.bboxes, found.scores[:, None]], dim=1).numpy()[None]
    return list(in_picture({"dets": dets, "labels": found.labels.numpy()[None]}, 0, frame, ()))


def unmatched(left: list[Detection], right: list[Detection]) -> int:
    """Return how many on the left have no equal of their own on the right."""
    rest = list(right)
    for one in left:
        equal = next((other for other in rest if is_equal(one, other)), None)
        if equal is not None:
            rest.remove(equal)
    return len(left) - (len(right) - len(rest))


def is_equal(left: Detection, right: Detection) -> bool:
    """Return whether two detections are the same up to rounding."""
    near = np.abs(np.subtract(left.box, right.box)).max() < 0.1
    return left.label == right.label and abs(left.score - right.score) < 1e-4 and bool(near)


def overlap(left: Detection, right: Detection) -> float:
    """Return the intersection of two boxes of one label over their union, else 0."""
    low, high = np.maximum(left.box[:2], right.box[:2]), np.minimum(left.box[2:], right.box[2:])
    shared = float(np.clip(high - low, 0, None).prod())
    areas = sum((b.box[2] - b.box[0]) * (b.box[3] - b.box[1]) for b in (left, right))
    return shared / (areas - shared) if left.label == right.label else 0.0


if __name__ == "__main__":
    main()
