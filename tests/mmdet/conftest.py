"""One small YOLOv3 exported once for all tests, and a second time for batches of two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from .detectors import Built, build


@pytest.fixture(scope="session")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("yolo"))


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The detector for two pictures at a time, with a limit of 20 detections for each."""
    return build(tmp_path_factory.mktemp("pair"), 2, **{"model.test_cfg.max_per_img": "20"})


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(autouse=True)
def _quick_exports(one_registry: None) -> None:
    """Export in this process with one registry."""
