"""A detector of one channel, from its recipe to the detections in a photograph."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from partition_core import Pipeline, RunError
from tests.checkpoints.detections import predicted, unmatched
from tests.projects import ROOT

from .builds import GRAY_DETECTOR, GrayDetector


@pytest.fixture
def photo(gray: GrayDetector, photograph: Path) -> Path:
    target = gray.project.folder / "photo.jpg"
    shutil.copy(photograph, target)
    return target


def mmdets_input(photo: Path) -> torch.Tensor:
    """Return the photograph as mmdet's pipeline prepares it, by hand: 109 x 128 pixels, gray."""
    plain = cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(plain, (109, 128), interpolation=cv2.INTER_LINEAR)
    array = np.zeros((1, 1, 128, 128), np.float32)
    array[0, 0, :, :109] = (small.astype(np.float32) - np.float32(110)) / np.float32(60)
    return torch.from_numpy(array)


@pytest.mark.thorough
def test_one_channel_is_built_proven_and_cut(gray: GrayDetector) -> None:
    manifest = json.loads((gray.build / "manifest.json").read_text())
    picture = manifest["export"]["picture"]
    assert (picture["channels"], picture["mean"], picture["std"]) == ("GRAY", [110.0], [60.0])
    assert [dims["dims"] for dims in manifest["segments"][0]["inputs"]] == [[1, 1, 128, 128]]
    for sample in manifest["proof"]["samples"]:
        (found,) = sample["detections"]
        assert found["pairs"] == found["pytorch"] > 20
    for name in ("end2end.onnx", "partition0.onnx"):
        session = onnxruntime.InferenceSession(gray.build / name)
        assert session.get_inputs()[0].shape == [1, 1, 128, 128]


def test_the_documentation_has_its_recipe() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "run.md").read_text(), re.DOTALL)
    lines = GRAY_DETECTOR.replace("128, 128]}", "320, 320]}").splitlines()
    assert shown.splitlines() == [line for line in lines if not line.endswith("[128, 128]")]


@pytest.mark.thorough
def test_a_photograph_is_detected_in_as_mmdet_does(gray: GrayDetector, photo: Path) -> None:
    output = gray.project.built("detect", "image=photo.jpg", "out=found", "score=0.01")
    told = json.loads((gray.project.folder / "found" / "photo.detections.json").read_text())
    theirs, labels = predicted(gray.model, mmdets_input(photo))
    x, y = 109 / 512, 128 / 600
    theirs[:, :4] = (theirs[:, :4] / [x, y, x, y]).clip(0, [512, 600, 512, 600])
    inside = (theirs[:, 2:4] > theirs[:, :2]).all(axis=1)
    dets = np.array([[*one["box"], one["score"]] for one in told["detections"]])
    found = dets, np.array([one["label"] for one in told["detections"]])
    assert unmatched(found, (theirs[inside], labels[inside])) == 0
    assert len(dets) > 20
    # Nothing is said of a seed: the weights are a checkpoint.
    assert "seed" not in output
    assert not {"seed", "note"} & set(told)
    assert Pipeline(gray.build).seed is None
    # What a person looks at keeps its colours.
    drawn = cv2.imread(str(gray.project.folder / "found" / "photo.detections.jpg")).astype(int)
    assert np.abs(drawn[..., 0] - drawn[..., 2])[-40:].mean() > 3


@pytest.mark.thorough
def test_its_report_shows_the_gray_picture_and_says_nothing_of_a_seed(
    gray: GrayDetector, photo: Path
) -> None:
    page = (gray.build / "report.html").read_text(encoding="utf-8")
    assert "What it detects" in page and page.count("<figure>") == 6
    assert 'class="caution"' not in page and "from seed" not in page.lower()
    picture = re.findall(r'href="data:image/jpeg;base64,([^"]+)"', page)[0]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown.shape == (128, 128, 3)
    seen = mmdets_input(photo).numpy()[0, 0, :, :109] * 60 + 110
    for channel in range(3):
        assert np.abs(shown[:, :109, channel] - seen).mean() < 6  # JPEG


@pytest.mark.thorough
def test_gray_arrays_and_files_are_the_same_pictures(gray: GrayDetector, photo: Path) -> None:
    pipeline = Pipeline(gray.build)
    plain = cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(photo.with_suffix(".png")), plain)
    (prepared,) = pipeline.preprocess(photo).inputs.values()
    np.testing.assert_array_equal(prepared, mmdets_input(photo).numpy())
    for other in (photo.with_suffix(".png"), plain):
        np.testing.assert_array_equal(pipeline.preprocess(other).inputs["input"], prepared)
    with pytest.raises(RunError, match=r"expected uint8\[H, W\], gray"):
        pipeline.detect(cv2.imread(str(photo)))


@pytest.mark.thorough
def test_calibration_data_has_one_channel(gray: GrayDetector, photo: Path) -> None:
    words = ("calibrate", "images=photo.jpg")
    for runner in ("onnxruntime", "pytorch"):
        gray.project.built(*words, f"out={runner}", f"from={runner}")
        with np.load(gray.project.folder / runner / "partition0" / "photo.npz") as content:
            np.testing.assert_array_equal(content["input"], mmdets_input(photo).numpy())


@pytest.mark.thorough
def test_three_channels_asked_of_it_are_refused_with_the_line(gray: GrayDetector) -> None:
    recipe = (gray.project.folder / "recipes" / "gray.yaml").read_text()
    gray.project.write("recipes/other.yaml", recipe.replace("[1, 1, 128", "[1, 3, 128"))
    try:
        run = gray.project.doit("build", "recipe=other")
    finally:
        (gray.project.folder / "recipes" / "other.yaml").unlink()
    assert run.returncode != 0
    assert (
        "ERROR: recipes/other.yaml:13: export.inputs.input.shape: has 3 channels, but the model "
        "takes 1; expected [1, 1, 128, 128]\n"
    ) in run.stdout
    assert not (gray.project.folder / "build" / "other").exists()
