"""The snippets of docs/run.md run as they stand there, on the small detector."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from partition_core import Pipeline, RunError
from tests.projects import ROOT, Scratch

TEXT = (ROOT / "docs" / "run.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    return str(found)


def test_the_snippets_run(detector: Scratch, photograph: Path) -> None:
    shutil.copy(photograph, detector.folder / "photo.jpg")
    assert "photo.detections.json" in detector.built(*block("sh").split()[1:])
    run = subprocess.run(
        [sys.executable, "-c", block("python")],
        cwd=detector.folder,
        env=detector.variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    seed, first, shapes = run.stdout.splitlines()
    assert seed == "0"
    assert re.match(r"[a-z ]+ 0\.\d+ \(", first)
    assert re.match(r"\{'dets': \(1, \d+, 5\), 'labels': \(1, \d+\)\}", shapes)


def test_the_message_is_the_message(detector_build: Path, photograph: Path) -> None:
    def half(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        maps = Pipeline(detector_build).segment("yolov3.onnx")(inputs)
        return {**maps, "pred_maps.0": maps["pred_maps.0"].astype(np.float16)}

    pipeline = Pipeline(detector_build, segments={"yolov3.onnx": half})
    with pytest.raises(RunError) as error:
        pipeline.detect(photograph)
    expected = block("text").replace("19, 19", "6, 6")  # 192 / 32 instead of 608 / 32
    assert f"{error.value}\n" == expected
