"""Build folders that are run: of a tiny model, with and without a gap, and of small detectors."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from partition_core.recipe.reader import read_recipe
from partition_core.sources.traced import load_subject
from tests.projects import RECIPE, Scratch

from .builds import BODY, DETECTOR, GRAY_DETECTOR, PHOTOGRAPH, GrayDetector


@pytest.fixture
def photograph() -> Path:
    return PHOTOGRAPH


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A project with the tiny recipe, and `gap`, which lacks the first of its segments."""
    folder = tmp_path_factory.mktemp("run")
    project = Scratch(folder / "project", folder / "store")
    assert BODY in RECIPE
    project.edit("recipes/tiny.yaml", BODY, "")
    project.built()
    shutil.copytree(project.folder / "build" / "tiny", project.folder / "build" / "gap")
    project.write("recipes/tiny.yaml", RECIPE)
    project.built()
    return project


@pytest.fixture(scope="session")
def tiny_build(tiny: Scratch) -> Path:
    return tiny.folder / "build" / "tiny"


@pytest.fixture(scope="session")
def gap_build(tiny: Scratch) -> Path:
    return tiny.folder / "build" / "gap"


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A project with one recipe, `yolov3`: a narrow YOLOv3 at 192 x 192, built."""
    folder = tmp_path_factory.mktemp("detector")
    project = Scratch(folder / "project", folder / "store")
    (project.folder / "recipes" / "tiny.yaml").unlink()
    project.write("recipes/yolov3.yaml", DETECTOR)
    project.built()
    return project


@pytest.fixture(scope="session")
def detector_build(detector: Scratch) -> Path:
    return detector.folder / "build" / "yolov3"


@pytest.fixture(scope="session")
def parts(detector: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A project with the recipes `network` and `tail`, each with one segment of `detector`'s."""
    project = Scratch(tmp_path_factory.mktemp("parts") / "project", detector.store)
    (project.folder / "recipes" / "tiny.yaml").unlink()
    *head, network, tail = DETECTOR.splitlines(keepends=True)
    for name, segment in (("network", network), ("tail", tail)):
        project.write(f"recipes/{name}.yaml", "".join((*head, segment)))
    project.built()
    return project


@pytest.fixture
def image() -> np.ndarray:
    """An input of the tiny model."""
    return np.random.default_rng(7).standard_normal((1, 3, 32, 32), dtype=np.float32)


@pytest.fixture(scope="session")
def gray(tmp_path_factory: pytest.TempPathFactory) -> GrayDetector:
    """A detector of gray pictures whose weights are a checkpoint."""
    folder = tmp_path_factory.mktemp("gray")
    project = Scratch(folder / "project", folder / "store")
    project.environment["PARTITION_CORE_REPORT"] = "1"
    (project.folder / "recipes" / "tiny.yaml").unlink()
    recipe = project.folder / "recipes" / "gray.yaml"
    recipe.write_text(GRAY_DETECTOR)
    file = read_recipe(recipe, project.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = load_subject(file.recipe, project.folder, None).user_module
    torch.save(model.state_dict(), project.folder / "gray.pth")
    digest = hashlib.sha256((project.folder / "gray.pth").read_bytes()).hexdigest()
    project.edit("recipes/gray.yaml", "{seed: 0}", f"{{checkpoint: gray.pth, sha256: '{digest}'}}")
    project.built()
    return GrayDetector(project, model)
