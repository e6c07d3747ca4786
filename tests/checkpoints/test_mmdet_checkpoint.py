"""A recipe of an mmdet config with a checkpoint by URL, in the form that mmengine writes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from partition_core.recipe.reader import read_recipe
from partition_core.sources.traced import load_subject
from tests.projects import ROOT, Scratch

from .detections import predicted, unmatched
from .file_server import FileServer
from .recipes import as_mmengine_saves, load_from, sha256

RECIPE = "yolov3-mobilenetv2"


@pytest.mark.thorough
def test_the_end2end_model_equals_mmdet_with_that_checkpoint(
    fresh: Scratch, server: FileServer
) -> None:
    recipe = fresh.folder / "recipes" / f"{RECIPE}.yaml"
    recipe.write_text((ROOT / "recipes" / recipe.name).read_text())
    detector, picture = seeded(recipe, fresh.folder)
    before = predicted(detector, picture)
    perturb(detector)
    expected = predicted(detector, picture)
    server.content = as_mmengine_saves(detector.state_dict())
    digest = sha256(server.content)
    load_from(fresh, server.url(f"yolov3_20210718-{digest[:8]}.pth"), digest[:8], RECIPE)
    fresh.built("build", f"recipe={RECIPE}")

    session = onnxruntime.InferenceSession(fresh.folder / "build" / RECIPE / "end2end.onnx")
    dets, labels = session.run(["dets", "labels"], {"input": picture.numpy()})
    assert len(expected[0]) > 20
    assert unmatched((dets[0], labels[0]), expected) == 0
    assert unmatched((dets[0], labels[0]), before) > 20  # those of the seed


def seeded(recipe: Path, root: Path) -> tuple[Any, torch.Tensor]:
    """Return the detector of a recipe with a seed, and the first picture of its proof."""
    file = read_recipe(recipe, root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject = load_subject(file.recipe, root, None)
    return subject.user_module, subject.samples[0][0]


def perturb(detector: Any) -> None:
    """Change every parameter a little, so that detections move."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in detector.parameters():
            tensor.mul_(1 + 0.05 * torch.randn(tensor.shape, generator=generator))
