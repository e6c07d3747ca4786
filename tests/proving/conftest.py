"""One small YOLOv3 for two pictures at a time, and one small network, each exported once.

Only what exports imports torch: half of the modules here are about arrays and ONNX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.proving.support import Subject


@pytest.fixture(scope="session")
def yolo(one_registry: None, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    from tests.mmdet.detectors import SEGMENTS, build
    from tests.proving.support import Subject

    folder = tmp_path_factory.mktemp("yolo")
    built = build(folder, pictures=2, size=128, **{"model.test_cfg.max_per_img": "20"})
    return Subject(built.file, built.exported.recording, SEGMENTS, True)


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
