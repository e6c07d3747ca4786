"""One small YOLOv3 exported once for all tests, and a second time for batches of two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.once import Once

from .detectors import Built, build, build_pair, load_pair


@pytest.fixture(scope="session")
def yolo(one_registry: None, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("yolo"), **{"model.test_cfg.nms_pre": "300"})


@pytest.fixture(scope="session")
def pair_folder(once: Once, one_registry: None) -> Path:
    """What the tests of the proof share."""
    return once("yolo pair", build_pair)


@pytest.fixture(scope="session")
def pair(pair_folder: Path) -> Built:
    """The detector for two pictures at a time, with a limit of 20 detections for each."""
    return load_pair(pair_folder)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(autouse=True)
def _quick_exports(one_registry: None, native_code_here: None) -> None:
    """Export with one registry, and cut in this process."""
