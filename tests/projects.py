"""Projects of users in temporary folders, on which the tests run doit as a user does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.forks import Forked, has_forks, run_forked

ROOT = Path(__file__).parents[1]

TINY = """
import torch
from torch import nn


class Head(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.small = nn.Conv2d(width, 6, 1)
        self.large = nn.Conv2d(width, 6, 1)

    def forward(self, features):
        return [self.small(features[0]), self.large(features[1])]


class Tiny(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.ReLU())
        self.head = Head(width)

    def forward(self, image):
        low = self.stem(image)
        return decode(self.head([low, self.body(low)]))


def decode(maps):
    flat = [one.flatten(2).sigmoid() for one in maps]
    return torch.cat(flat, dim=2)


def build(width=8):
    return Tiny(width)
"""

RECIPE = """\
# yaml-language-server: $schema=../schema/recipe.schema.json
model:
  source: torch
  factory: tiny:build
  args: {width: 8}
  weights: {seed: 0}
export:
  inputs: {image: {shape: [1, 3, 32, 32]}}
marks:
  - {name: whole, on: tiny.Tiny.forward, inputs: [image], outputs: [scores]}
  - {name: decode, on: tiny.decode, inputs: [maps], outputs: []}
partition:
  type: tiny_partition
  segments:
    - {save_file: body.onnx, start: ['whole:input'], end: ['decode:input']}
    - {save_file: tail.onnx, start: ['decode:input'], end: ['whole:output']}
"""

FILE_RECIPE = """\
model: {source: onnx, path: tiny.onnx}
marks:
  - {name: whole, inputs: [image], outputs: [scores]}
  - name: decode
    tensors: [{node: /head/small/Conv, as: small}, {node: /head/large/Conv, as: large}]
partition:
  type: tiny_partition
  segments:
    - {save_file: body.onnx, start: ['whole:input'], end: ['decode:input']}
    - {save_file: tail.onnx, start: ['decode:input'], end: ['whole:output']}
"""

SMALL_DETECTOR = """\
model = dict(
    type="RetinaNet",
    data_preprocessor=dict(type="DetDataPreprocessor", pad_size_divisor=32),
    backbone=dict(
        type="ResNet", depth=18, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)
    ),
    neck=dict(type="FPN", in_channels=[64], out_channels=8, num_outs=1),
    bbox_head=dict(
        type="RetinaHead",
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(type="AnchorGenerator", scales=[4], ratios=[1.0], strides=[4]),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True),
    ),
    test_cfg=dict(
        nms_pre=100, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=20
    ),
)
pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(64, 64), keep_ratio=True),
    dict(type="PackDetInputs"),
]
test_dataloader = dict(dataset=dict(pipeline=pipeline))
"""
"""A config of mmdet's, of a model that is built in a second."""


def tiny_file(seed: int = 0, scale: float = 1.0) -> bytes:
    """Return an ONNX file of the model in `TINY`; `scale` multiplies what it gives."""
    node, random = helper.make_node, np.random.default_rng(seed)

    def weight(name: str, *dims: int) -> TensorProto:
        return numpy_helper.from_array(random.normal(0, 0.4, dims).astype(np.float32), name)

    halves = {"pads": [1] * 4, "strides": [2, 2]}
    nodes = [
        node("Conv", ["image", "stem"], ["stem_out"], "/stem/Conv", **halves),
        node("Relu", ["stem_out"], ["low"], "/stem/Relu"),
        node("Conv", ["low", "body"], ["body_out"], "/body/Conv", **halves),
        node("Relu", ["body_out"], ["high"], "/body/Relu"),
        node("Conv", ["low", "small"], ["small_map"], "/head/small/Conv"),
        node("Conv", ["high", "large"], ["large_map"], "/head/large/Conv"),
        node("Reshape", ["small_map", "flat"], ["small_flat"], "/small/Reshape"),
        node("Reshape", ["large_map", "flat"], ["large_flat"], "/large/Reshape"),
        node("Sigmoid", ["small_flat"], ["small_scores"], "/small/Sigmoid"),
        node("Sigmoid", ["large_flat"], ["large_scores"], "/large/Sigmoid"),
        node("Concat", ["small_scores", "large_scores"], ["both"], "/Concat", axis=2),
        node("Mul", ["both", "scale"], ["scores"], "/Mul"),
    ]
    weights = [weight("stem", 8, 3, 3, 3), weight("body", 8, 8, 3, 3)]
    weights += [weight("small", 6, 8, 1, 1), weight("large", 6, 8, 1, 1)]
    weights += [numpy_helper.from_array(np.array([1, 6, -1]), "flat")]
    weights += [numpy_helper.from_array(np.float32(scale), "scale")]
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", kind, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("scores", kind, [1, 6, 320])],
        weights,
    )
    opset = [helper.make_opsetid("", 20)]
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return made.SerializeToString(deterministic=True)


def _take_interruptions() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Scratch:
    """A project of a user: a folder with `dodo.py`, `tiny.py` and recipes, and a store."""

    folder: Path
    store: Path
    package_root: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)
    is_forked: bool = True
    """Whether `doit` may run where much is imported already: what is built is the same."""
    imports: str = "torch"
    """What that is, of `forks.KINDS`."""

    def __post_init__(self) -> None:
        """Write the files of the project."""
        (self.folder / "recipes").mkdir(parents=True)
        (self.folder / "dodo.py").write_text((ROOT / "dodo.py").read_text())
        self.write("tiny.py", TINY)
        self.write("recipes/tiny.yaml", RECIPE)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        (self.folder / name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that occurs in a file of the project."""
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs doit."""
        return [sys.executable, "-m", "doit", *arguments]

    def variables(self) -> dict[str, str]:
        """Return the environment in which doit runs."""
        return {
            **os.environ,
            "PYTHONPATH": str(self.package_root),
            "PARTITION_CORE_STORE": str(self.store),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
            # Most tests build often and read no report.
            "PARTITION_CORE_REPORT": "0",
            **self.environment,
        }

    def doit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run doit in the project; its output is in `stdout`, and its errors too."""
        variables = self.variables()
        if self._can_be_forked():
            return run_forked(self.imports, ["doit", *arguments], self.folder, variables)
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )

    def _can_be_forked(self) -> bool:
        """Return whether a fork of a Python that has imported much is what doit would start in."""
        changed = {
            name
            for name, value in self.environment.items()
            if name.startswith(("PYTHON", "OMP_")) and os.environ.get(name) != value
        }
        # Only torch asks for the other one when it is imported.
        known = {"PYTHONPATH"} | ({"OMP_NUM_THREADS"} if self.imports == "onnx" else set())
        return self.is_forked and changed <= known and has_forks()

    def built(self, *arguments: str) -> str:
        """Run doit, which must succeed, and return what it said."""
        run = self.doit(*(arguments or ("build",)))
        assert run.returncode == 0, run.stdout
        return run.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str] | Forked:
        """Start doit in a process group of its own; its output and errors come by `stdout`."""
        if self._can_be_forked():
            return Forked(self.imports, ["doit", *arguments], self.folder, self.variables())
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell that runs the tests in the background ignores interruptions, nohup a hang-up.
            preexec_fn=_take_interruptions,  # noqa: PLW1509  # reason: it calls nothing but signal
        )

    def files(self) -> dict[str, bytes]:
        """Return the bytes of every file of the project, by its path."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }

    def artifacts_of(self, target: str, recipe: str = "tiny") -> dict[str, bytes]:
        """Return the bytes of every file of a target in a recipe's build folder, by name."""
        return self.artifacts(f"{recipe}/{target}")

    def artifacts(self, recipe: str = "tiny") -> dict[str, bytes]:
        """Return the bytes of every file in a recipe's build folder, by name."""
        folder = self.folder / "build" / recipe
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class FileScratch(Scratch):
    """The same with an ONNX file in place of a PyTorch model: a build takes a tenth of the time."""

    def __post_init__(self) -> None:
        """Write the files of the project."""
        super().__post_init__()
        self.imports = "onnx"
        (self.folder / "tiny.py").unlink()
        self.write("recipes/tiny.yaml", FILE_RECIPE)
        self.change()

    def change(self, seed: int = 0, scale: float = 1.0) -> None:
        """Write the model with other weights."""
        (self.folder / "tiny.onnx").write_bytes(tiny_file(seed, scale))


def copied(store: Path, target: Path) -> Path:
    """Copy a store, without what uses it, and return the copy."""
    shutil.copytree(store, target)
    shutil.rmtree(target / "v1" / "users")
    return target


_ORDER = (
    *("export", "cut body.onnx", "cut tail.onnx", "cut decoded.onnx", "prove"),
    *("measure end2end.onnx", "measure body.onnx", "measure tail.onnx"),
    *("measure decoded.onnx", "report"),
)


def steps(output: str) -> list[str]:
    """Return which steps of the tiny recipe ran, in order: `export`, `cut body.onnx`, `prove`."""
    ended = [line for line in output.splitlines() if line.endswith(" s") and line.count(": ") > 1]
    names = [line.split(": ")[1] for line in ended]
    return sorted(set(names), key=_ORDER.index)
