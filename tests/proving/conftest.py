"""One small YOLOv3 for two pictures at a time, and one small network, each exported once.

Only what exports imports torch: half of the modules here are about arrays and ONNX.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partition_core.base.folders import RECORDING
from partition_core.base.recording import load_recording
from tests.once import Once

if TYPE_CHECKING:
    from tests.proving.support import Subject


@pytest.fixture(scope="session")
def yolo_folder(one_registry: None, once: Once) -> Path:
    """What the tests of detectors share."""
    from tests.mmdet.detectors import build_pair

    return once("yolo pair", build_pair)


@pytest.fixture(scope="session")
def yolo(yolo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    from tests.mmdet.detectors import SEGMENTS
    from tests.proving.support import Subject

    # A subject writes beside its file.
    folder = shutil.copytree(yolo_folder, tmp_path_factory.mktemp("yolo") / "pair")
    recording = load_recording(folder / RECORDING)
    return Subject(folder / "end2end.onnx", recording, SEGMENTS, True)


@pytest.fixture(scope="session")
def net(one_registry: None, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    from tests.export.support import IMAGE, export, mark, saved, torch_recipe
    from tests.proving.support import Subject, segment

    recipe = torch_recipe(
        "Net",
        IMAGE,
        mark("whole", "Net.forward", inputs=["image"]),
        mark("stem", module="stem"),
        mark("decode", "decode", inputs=["maps"]),
    )
    exported = export(recipe)
    file = saved(exported.model, tmp_path_factory.mktemp("net"))
    segments = (
        segment("body.onnx", "whole:input", "decode:input"),
        segment("decode.onnx", "decode:input", "whole:output"),
    )
    return Subject(file, exported.recording, segments, False)
