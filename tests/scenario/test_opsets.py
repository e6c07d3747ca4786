"""Recipes that ask for an opset: proven like any other, or refused with what stands in the way."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest

from tests.projects import Scratch

pytestmark = pytest.mark.usefixtures("one_registry")

MODELS = """
import torch
from torch import nn
from torch.nn import functional as F


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=True)

    def forward(self, ids):
        return self.layer(self.embed(ids)).softmax(1)


class Picture(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish())
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, image):
        x = F.interpolate(self.norm(self.stem(image)), size=(9, 7), mode="bilinear")
        a, b, c = x.chunk(3, 2)
        y = torch.cat([a.amax(1), b.mean(1), c.std(1)], 1).clamp(0, 1)
        return F.pad(y, (1, 2)), y.topk(3)[0], y.argmax(-1)


class Warp(nn.Module):
    def forward(self, image):
        grid = image[:, :2].permute(0, 2, 3, 1).tanh()
        return F.grid_sample(image, grid, align_corners=False) + image.triu()


class Warped(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.warp = nn.Conv2d(3, 3, 1), Warp()

    def forward(self, image):
        return self.warp(self.stem(image))
"""

TEXT = """\
model: {source: torch, factory: asking:Text, weights: {seed: 0}}
export:
  inputs: {ids: {shape: [1, 8], dtype: int64}}
  dynamic_axes: {ids: {1: length}}
  opset: OPSET
marks: [{name: whole, on: model}, {name: layer, module: layer}]
partition:
  type: two
  segments:
    - {save_file: first.onnx, start: ['whole:input'], end: ['layer:input']}
    - {save_file: second.onnx, start: ['layer:input'], end: ['whole:output']}
"""
PICTURE = (
    TEXT.replace("Text", "Picture")
    .replace("ids: {shape: [1, 8], dtype: int64}", "image: {shape: [1, 3, 16, 16]}")
    .replace("  dynamic_axes: {ids: {1: length}}\n", "")
    .replace("module: layer}", "module: norm}")
)


@pytest.fixture
def project(tmp_path: Path) -> Scratch:
    made = Scratch(tmp_path / "project", tmp_path / "store")
    made.write("asking.py", MODELS)
    return made


VERSIONS = {11: 6, 14: 7, 17: 8, 25: 10}
"""The IR version that came with each opset (onnx, "Released versions")."""
CASES = [
    pytest.param(
        text,
        opset,
        id=f"{name}-{opset}",
        marks=()
        if (name, opset) in (("text", 11), ("picture", 14), ("text", 25))
        else pytest.mark.thorough,
    )
    for name, text in (("text", TEXT), ("picture", PICTURE))
    for opset in VERSIONS
]


@pytest.mark.parametrize(("text", "opset"), CASES)
def test_a_model_of_any_opset_is_proven_against_pytorch(
    project: Scratch, text: str, opset: int
) -> None:
    version = VERSIONS[opset]
    project.write("recipes/x.yaml", text.replace("OPSET", str(opset)))
    assert "end2end equals PyTorch within" in project.built("build", "recipe=x")
    folder = project.folder / "build" / "x"
    proof = json.loads((folder / "manifest.json").read_text())["proof"]
    assert len(proof["samples"]) == (4 if text is TEXT else 2)
    for name in ("end2end.onnx", "first.onnx", "second.onnx"):
        model = onnx.load(folder / name)
        onnx.checker.check_model(model, full_check=True)
        assert {"": opset}.items() <= {
            one.domain: one.version for one in model.opset_import
        }.items()
        # Functions, such as that of Mark, came with version 8.
        assert model.ir_version == (max(version, 8) if name == "end2end.onnx" else version)
        onnxruntime.InferenceSession(folder / name)
    modules = {prop.value for node in model.graph.node for prop in node.metadata_props}
    assert "layer.norm2" in modules if text is TEXT else "" in modules


@pytest.mark.thorough
def test_an_older_opset_is_the_same_bytes_each_time(project: Scratch, tmp_path: Path) -> None:
    project.write("recipes/x.yaml", PICTURE.replace("OPSET", "11"))
    project.built("build", "recipe=x")
    first = project.artifacts("x")
    other = Scratch(tmp_path / "other", tmp_path / "other_store", is_forked=False)
    other.write("asking.py", MODELS)
    other.write("recipes/x.yaml", PICTURE.replace("OPSET", "11"))
    other.environment["PYTHONHASHSEED"] = "7"
    other.built("build", "recipe=x")
    models = [name for name in first if name.endswith(".onnx")]
    assert len(models) == 3
    assert [first[name] for name in models] == [other.artifacts("x")[name] for name in models]


def test_all_that_stands_in_the_way_is_named_and_nothing_is_left(project: Scratch) -> None:
    project.write(
        "recipes/x.yaml",
        PICTURE.replace("Picture", "Warped")
        .replace("module: norm", "module: warp")
        .replace("OPSET", "13"),
    )
    run = project.doit("build", "recipe=x")
    assert run.returncode
    end = "or export a model without it"
    assert [line for line in run.stdout.splitlines() if "opset" in line] == [
        "ERROR: recipes/x.yaml:4: export.opset: opset 13 has no GridSample, which is node "
        f"'node_grid_sampler' of module 'warp'; expected an opset from 16; {end}",
        "recipes/x.yaml:4: export.opset: opset 13 has no Trilu, which is node 'node_triu' of "
        f"module 'warp'; expected an opset from 14; {end}",
    ]
    assert not (project.folder / "build" / "x").exists()
