"""A project of a user who has ONNX files and no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from partition_core.base.errors import PartitionError
from partition_core.base.folders import RECORDING
from partition_core.base.recording import Recording, load_recording
from partition_core.build.run import Run
from tests.projects import ROOT, Scratch

from .files import detector

HEAVY = ("torch", "mmdet", "mmcv", "mmengine", "cv2", "onnxscript")

_BLOCKER = f"""
import sys


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is not installed", name=name)


sys.meta_path.insert(0, Blocker())
"""

TWO = """\
model: {source: onnx, path: detector.onnx}
marks:
  - {name: whole, inputs: [image], outputs: [scores, boxes]}
  - {name: neck, tensors: [conv_1, {node: /neck/Relu, as: features}]}
partition:
  type: two
  segments:
    - {save_file: body.onnx, start: ['whole:input'], end: ['neck:input']}
    - {save_file: head.onnx, start: ['neck:output'], end: ['whole:output']}
"""

LINE = """\
model: {source: onnx, path: detector.onnx}
partition: {save_file: neck.onnx, from: [conv_1], to: [{node: /neck/Relu}]}
"""


class Project(Scratch):
    """A project in which torch cannot be imported, with a small ONNX file and no recipe."""

    def __post_init__(self) -> None:
        """Write the files of the project."""
        super().__post_init__()
        self.imports = "onnx"
        (self.folder / "recipes" / "tiny.yaml").unlink()
        block = self.folder.parent / "no_torch"
        block.mkdir()
        (block / "sitecustomize.py").write_text(_BLOCKER)
        self.environment["PYTHONPATH"] = f"{block}:{ROOT}"
        self.environment["OMP_NUM_THREADS"] = "1"
        self.environment["NO_PROXY"] = "127.0.0.1"
        self.save(detector())

    def save(self, model: onnx.ModelProto, name: str = "detector.onnx") -> Path:
        """Write a model into the project."""
        file = self.folder / name
        file.write_bytes(model.SerializeToString(deterministic=True))
        return file

    def recipe(self, text: str, name: str = "x") -> None:
        """Write a recipe."""
        self.write(f"recipes/{name}.yaml", text)

    def check(self, name: str = "x") -> None:
        """Do in this process what doit does before it starts a task; raises what it tells."""
        Run(self.folder, [name])

    def make(self, name: str = "x") -> dict[str, onnx.ModelProto]:
        """Carry out the steps of a build in this process; return end2end and the segments."""
        (build,) = Run(self.folder, [name]).builds
        for step in ("export", *(f"cut {name}" for name in build.overview.segments), "prove"):
            build.carry_out(step, _say_nothing)
        made = {}
        for file, stored in (build.plan.models() or {}).items():
            path = build.plan.project.store.path_of(stored.file)
            assert path is not None
            made[file] = onnx.load(path)
        return made

    def proven(self, name: str = "x") -> tuple[str, dict[str, Any]]:
        """Build; return the line and the figures of the proof."""
        self.make(name)
        plan = Run(self.folder, [name]).builds[0].plan
        result = plan.result_of("prove")
        assert result is not None
        path = plan.project.store.path_of(result.files["proof.json"])
        assert path is not None
        return str(result.notes["summary"]), json.loads(path.read_bytes())["proof"]

    def refused(self, name: str = "x") -> str:
        """Return why a build fails, which publishes nothing."""
        with pytest.raises(PartitionError) as error:
            self.make(name)
        assert not (self.folder / "build" / name).exists()
        return str(error.value)

    def recording(self, name: str = "x") -> Recording:
        """Return what the export of a recipe left for the proof."""
        plan = Run(self.folder, [name]).builds[0].plan
        result = plan.result_of("export")
        assert result is not None
        path = plan.project.store.path_of(result.files[RECORDING])
        assert path is not None
        return load_recording(path)

    def told(self, name: str = "x") -> list[str]:
        """Return what is told before a task starts: a mistake, that leaves no file."""
        before = self.files()
        with pytest.raises(PartitionError) as error:
            self.check(name)
        after = {path: content for path, content in self.files().items() if path in before}
        assert after == before
        assert not (self.folder / "build" / name).exists()
        return str(error.value).splitlines()


def with_two_recipes(folder: Path) -> Project:
    """Return a project in `folder` with the recipes `one`, of one line, and `two`."""
    project = Project(folder / "project", folder / "store")
    project.recipe(LINE, "one")
    project.recipe(TWO, "two")
    return project


def _say_nothing(_: str) -> None:
    """Say nothing."""
