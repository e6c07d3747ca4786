"""Builds with `export.precision: float16`: the whole way from the recipe to detections."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from partition_core import CalibrationReader, Pipeline, RunError
from tests.projects import RECIPE, Scratch

from .builds import DETECTOR

PRECISION = "export:\n  precision: float16\n"
KEPT = f"{PRECISION}  keep_io_types: true\n"


def manifest(project: Scratch, name: str) -> dict:
    content = json.loads((project.folder / "build" / name / "manifest.json").read_text())
    assert isinstance(content, dict)
    return content


def dtypes(project: Scratch, name: str) -> list[list[str]]:
    """Return the dtypes of what enters and leaves the segments, in their order."""
    return [
        [tensor["dtype"] for side in ("inputs", "outputs") for tensor in segment[side]]
        for segment in manifest(project, name)["segments"]
    ]


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A project with the tiny recipe in float16, and `kept`, whose inputs and outputs are not."""
    folder = tmp_path_factory.mktemp("half")
    project = Scratch(folder / "project", folder / "store")
    project.write("recipes/tiny.yaml", RECIPE.replace("export:\n", PRECISION))
    project.write("recipes/kept.yaml", RECIPE.replace("export:\n", KEPT))
    project.built()
    return project


def test_a_build_in_float16_is_proven_with_a_tolerance_of_its_own(half: Scratch) -> None:
    half_dtypes = ["float16"] * 3
    assert dtypes(half, "tiny") == [half_dtypes, half_dtypes]
    assert dtypes(half, "kept") == [
        ["float32", "float16", "float16"],
        ["float16"] * 2 + ["float32"],
    ]
    for name in ("tiny", "kept"):
        proof = manifest(half, name)["proof"]
        assert proof["tolerance"] == 0.01
        for sample in proof["samples"]:
            (figures,) = sample["outputs"].values()
            share = figures["largest_difference"] / figures["largest_value"]
            assert 1e-6 < share < 1e-2
    sizes = [
        (half.folder / "build" / name / "end2end.onnx").stat().st_size for name in ("tiny", "kept")
    ]
    assert abs(sizes[0] - sizes[1]) < 2000


def test_the_pipeline_takes_and_gives_what_the_recipe_says(
    half: Scratch, tiny_build: Path, image: np.ndarray
) -> None:
    (exact,) = Pipeline(tiny_build)({"image": image}).values()
    build = half.folder / "build"
    (given,) = Pipeline(build / "tiny")({"image": image.astype(np.float16)}).values()
    (kept,) = Pipeline(build / "kept")({"image": image}).values()
    assert (given.dtype, kept.dtype) == (np.float16, np.float32)
    for one in (given, kept):
        apart = np.abs(one.astype(np.float64) - exact).max()
        assert 0 < apart < 1e-2 * np.abs(exact).max()
    with pytest.raises(RunError, match="its dtype is float32; expected float16"):
        Pipeline(build / "tiny")({"image": image})


def test_calibration_data_from_pytorch_has_the_dtypes_of_the_segments(
    half: Scratch, image: np.ndarray
) -> None:
    samples = half.folder / "samples"
    samples.mkdir()
    np.savez(samples / "one.npz", image=image.astype(np.float16))
    arguments = ("calibrate", "recipe=tiny", "images=samples")
    half.built(*arguments, "out=chained")
    half.built(*arguments, "out=traced", "from=pytorch")
    for segment in ("body", "tail"):
        chained, traced = (
            next(iter(CalibrationReader(half.folder / out / segment)))
            for out in ("chained", "traced")
        )
        assert chained.keys() == traced.keys()
        for name, array in chained.items():
            assert array.dtype == traced[name].dtype == np.float16
            apart = np.abs(array.astype(np.float64) - traced[name]).max()
            assert apart < 1e-2 * np.abs(array).max()


@pytest.mark.thorough
def test_a_detector_in_float16_detects_what_it_does_in_float32(
    detector: Scratch, photograph: Path, tmp_path: Path
) -> None:
    project = Scratch(tmp_path / "project", detector.store)
    (project.folder / "recipes" / "tiny.yaml").unlink()
    project.write("recipes/half.yaml", DETECTOR.replace("export:\n", PRECISION))
    output = project.built()
    assert "half: proven on 2 inputs: the segments in a chain equal end2end bit for bit" in output
    told = manifest(project, "half")
    assert told["export"]["picture"]["dtype"] == "float16"
    for sample in told["proof"]["samples"]:
        (figures,) = sample["detections"]
        assert figures["different"] == 0
        assert (
            figures["pairs"] + figures["rounded"] // 2 == figures["pytorch"] == figures["end2end"]
        )
        assert figures["rounded"] <= figures["pytorch"] // 5
    # All of the network, and nothing of the suppression.
    assert set(dtypes(project, "half")[0]) == {"float16"}
    (found,) = Pipeline(project.folder / "build" / "half").detect(photograph)
    (expected,) = Pipeline(detector.folder / "build" / "yolov3").detect(photograph)
    assert len(found) == len(expected) > 50
    same = 0
    for one in expected:
        same += any(
            one.label == other.label
            and abs(one.score - other.score) < 0.01
            and np.abs(np.subtract(one.box, other.box)).max() < 6
            for other in found
        )
    assert same >= 0.9 * len(expected)
