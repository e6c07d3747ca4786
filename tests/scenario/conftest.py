"""Projects whose store already holds a build, which is made once for all tests of a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.once import Once
from tests.projects import ROOT, FileScratch, Scratch, copied


@pytest.fixture
def scratch(tmp_path: Path, file_store: Path) -> FileScratch:
    """Return a project with an ONNX file whose store already holds the build of its recipe."""
    return FileScratch(tmp_path / "project", copied(file_store, tmp_path / "store"))


@pytest.fixture
def torch_scratch(tmp_path: Path, tiny_store: Path) -> Scratch:
    """Return a project with a PyTorch model whose store already holds the build of its recipe."""
    return Scratch(tmp_path / "project", copied(tiny_store, tmp_path / "store"))


@pytest.fixture(scope="session")
def file_store(once: Once) -> Path:
    """Return a store that holds the build of the ONNX file's recipe."""
    return once("tiny-file", lambda folder: store_of(FileScratch, folder)) / "store"


@pytest.fixture(scope="session")
def tiny_store(once: Once) -> Path:
    """Return a store that holds the build of the PyTorch model's recipe."""
    return once("tiny", lambda folder: store_of(Scratch, folder)) / "store"


def store_of(kind: type[Scratch], folder: Path) -> None:
    """Build in a folder, beside what was said of it."""
    project = kind(folder / "project", folder / "store")
    (folder / "said").write_text(project.built())


@pytest.fixture(scope="session")
def yolov3(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Return a project with the recipes of this repository, in which `yolov3` was just built."""
    folder = tmp_path_factory.mktemp("yolov3")
    project = Scratch(folder / "project", folder / "store")
    project.environment["PARTITION_CORE_REPORT"] = "1"
    shutil.rmtree(project.folder / "recipes")
    shutil.copytree(ROOT / "recipes", project.folder / "recipes")
    output = project.built("build", "recipe=yolov3")
    assert "yolov3: proven on 2 inputs: the segments in a chain equal end2end bit for bit" in output
    return project


@pytest.fixture
def fresh(tmp_path: Path) -> FileScratch:
    """Return a project with an ONNX file and an empty store."""
    return FileScratch(tmp_path / "project", tmp_path / "store")


@pytest.fixture
def torch_fresh(tmp_path: Path) -> Scratch:
    """Return a project with a PyTorch model and an empty store."""
    return Scratch(tmp_path / "project", tmp_path / "store")
