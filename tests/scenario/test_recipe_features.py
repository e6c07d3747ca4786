"""What recipes can say, end to end: axes, names, overlaps, gaps, calls, nesting, inheritance."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.projects import Scratch

MODEL = """
import torch
from torch import nn


class Rich(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.down = nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, image):
        low = self.stem(image).relu()
        maps = neck({"low": low, "pair": (low * 0.5, [self.down(low)])})
        once = squash(maps["low"])
        return {"near": once, "far": squash(maps["pair"][1][0])}


def neck(features):
    return features


def squash(x):
    return (x * 2).tanh()
"""

BASE = """\
model:
  source: torch
  factory: richly:Rich
  weights: {seed: 7}
export:
  inputs: {image: {shape: [1, 3, 32, 48]}}
partition:
  type: to_be_replaced
  segments: []
"""

MIDDLE = """\
extends: base.yaml
marks:
  - {name: whole, on: richly.Rich.forward, inputs: [image], outputs: []}
  - {name: neck, on: richly.neck, inputs: [features], outputs: []}
  - {name: squash, on: richly.squash, inputs: [x], outputs: [squashed]}
"""

RICH = """\
extends: middle.yaml
export:
  dynamic_axes: {image: {2: height, 3: width}}
partition:
  type: rich_partition
  segments:
    - {save_file: body.onnx, start: ['whole:input'], end: ['neck:input']}
    - {save_file: near.onnx, start: ['neck:input.features.low'], end: ['squash:output']}
    - {save_file: far.onnx, start: ['neck:input.features.pair.1.0'], end: ['squash[1]:output']}
    - save_file: overlap.onnx
      start: ['whole:input']
      end: ['squash:input', 'squash[1]:input']
      input_names: [picture]
      output_names: [low_map, high_map]
"""


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Return a project in which a recipe that uses most of the language was built."""
    folder = tmp_path_factory.mktemp("rich")
    project = Scratch(folder / "project", folder / "store")
    project.write("richly.py", MODEL)
    project.write("recipes/base.yaml", BASE)
    project.write("recipes/middle.yaml", MIDDLE)
    project.write("recipes/rich.yaml", RICH)
    project.built("build", "recipe=rich")
    return project


def manifest(project: Scratch) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.artifacts("rich")["manifest.json"])
    return found


@contextlib.contextmanager
def written(project: Scratch, recipe: str) -> Iterator[None]:
    project.write("recipes/rich.yaml", recipe)
    try:
        yield
    finally:
        project.write("recipes/rich.yaml", RICH)


def session(project: Scratch, name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    path: Path = project.folder / "build" / "rich" / name
    return onnxruntime.InferenceSession(path, options)


def shapes(values: list[Any]) -> dict[str, list[int | str]]:
    return {value.name: value.shape for value in values}


def test_a_recipe_inherits_over_two_levels_and_tells_the_line_that_a_mistake_is_on(
    rich: Scratch,
) -> None:
    recipe = manifest(rich)["recipe"]
    assert recipe["model"]["weights"] == {"seed": 7}
    assert [mark["name"] for mark in recipe["marks"]] == ["whole", "neck", "squash"]
    assert recipe["partition"]["type"] == "rich_partition"
    rich.edit("recipes/middle.yaml", "name: neck", "nam: neck")
    try:
        run = rich.doit("build", "recipe=rich")
    finally:
        rich.write("recipes/middle.yaml", MIDDLE)
    assert run.returncode == 3
    assert run.stdout == (
        "ERROR: recipes/middle.yaml:4: marks[1].nam: unknown key 'nam'; expected one of "
        "'any_of', 'decorator', 'inputs', 'module', 'name', 'on', 'outputs'; did you mean 'name'?\n"
    )


def test_a_symbol_is_the_same_on_both_sides_of_every_cut(rich: Scratch) -> None:
    content = manifest(rich)
    declared = {
        segment["save_file"]: {
            side: {tensor["name"]: tensor["dims"] for tensor in segment[side]}
            for side in ("inputs", "outputs")
        }
        for segment in content["segments"]
    }
    for name, sides in declared.items():
        loaded = session(rich, name)
        assert shapes(loaded.get_inputs()) == sides["inputs"]
        assert shapes(loaded.get_outputs()) == sides["outputs"]
    for edge in content["edges"]:
        if edge["producer"] in declared:
            assert declared[edge["producer"]]["outputs"][edge["output"]] == edge["dims"]
        if edge["consumer"] in declared:
            assert declared[edge["consumer"]]["inputs"][edge["input"]] == edge["dims"]
    whole = session(rich, "end2end.onnx")
    assert shapes(whole.get_inputs()) == {"image": [1, 3, "height", "width"]}
    ends = {**declared["near.onnx"]["outputs"], "far": declared["far.onnx"]["outputs"]["squashed"]}
    assert shapes(whole.get_outputs()) == {"near": ends["squashed"], "far": ends["far"]}


@pytest.mark.parametrize("size", [(32, 48), (64, 64), (128, 40)])
def test_the_segments_in_a_chain_equal_the_whole_at_every_size(
    rich: Scratch, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32)
    near, far = session(rich, "end2end.onnx").run(["near", "far"], {"image": image})
    low, high = session(rich, "body.onnx").run(
        ["features.low", "features.pair.1.0"], {"image": image}
    )
    assert low.shape == (1, 4, size[0] // 2, size[1] // 2)
    (first,) = session(rich, "near.onnx").run(["squashed"], {"features.low": low})
    (second,) = session(rich, "far.onnx").run(["squashed"], {"features.pair.1.0": high})
    assert first.tobytes() == near.tobytes()
    assert second.tobytes() == far.tobytes()
    both = session(rich, "overlap.onnx").run(["low_map", "high_map"], {"picture": image})
    assert [one.tobytes() for one in both] == [low.tobytes(), high.tobytes()]


def test_coverage_names_the_nodes_that_several_segments_run(rich: Scratch) -> None:
    covered = manifest(rich)["coverage"]
    assert covered["uncovered"] == []
    assert {tuple(segments) for _, segments in covered["shared"]} == {("body.onnx", "overlap.onnx")}
    assert len(covered["shared"]) == 3
    assert dict(covered["counts"]) == {
        "body.onnx": 3,
        "near.onnx": 2,
        "far.onnx": 2,
        "overlap.onnx": 3,
    }


def test_a_gap_between_segments_is_in_the_manifest_and_the_rest_is_proven(rich: Scratch) -> None:
    text = "".join(line for line in RICH.splitlines(True) if "near.onnx" not in line)
    with written(rich, text):
        rich.built("build", "recipe=rich")
        content = manifest(rich)
        files = rich.artifacts("rich")
    rich.built("build", "recipe=rich")
    assert len(content["coverage"]["uncovered"]) == 2
    assert set(files) == {
        "end2end.onnx",
        "body.onnx",
        "far.onnx",
        "overlap.onnx",
        "manifest.json",
    }
    ends = [edge for edge in content["edges"] if edge["consumer"] == "end2end output"]
    assert [(edge["producer"], edge["input"]) for edge in ends] == [("far.onnx", "far")]


# (replaced, replacement), where and what is told
BAD_CUTS = {
    "call": (
        ("'squash[1]:output'", "'squash[2]:output'"),
        "9: partition.segments[2].end[0]: mark 'squash' has 2 calls, none with number 2; "
        "expected 0 or 1",
    ),
    "names": (
        ("output_names: [low_map, high_map]", "output_names: [low_map]"),
        "14: partition.segments[3].output_names: 1 name for 2 tensors; expected one for each of "
        "'squash:input.x', 'squash[1]:input.x'",
    ),
    "path": (
        ("'neck:input.features.low'", "'neck:input.features.lo'"),
        "8: partition.segments[1].start[0]: 'neck:input.features.lo' selects no tensor; expected "
        "one of 'neck:input.features.low', 'neck:input.features.pair.1.0'; did you mean "
        "'neck:input.features.low'?",
    ),
    "useless": (
        ("end: ['squash[1]:output']", "end: ['squash:output']"),
        "9: partition.segments[2].start[0]: nothing in segment 'far.onnx' needs "
        "'neck:input.features.pair.1.0'; remove it",
    ),
}


@pytest.mark.parametrize(("edit", "told"), BAD_CUTS.values(), ids=BAD_CUTS)
def test_a_cut_that_cannot_be_made_is_told_with_its_line_and_changes_nothing(
    rich: Scratch, edit: tuple[str, str], told: str
) -> None:
    before = rich.artifacts("rich")
    old, new = edit
    assert old in RICH
    with written(rich, RICH.replace(old, new)):
        run = rich.doit("build", "recipe=rich")
    assert run.returncode != 0
    assert [line for line in run.stdout.splitlines() if "ERROR" in line or "Trace" in line] == [
        f"ERROR: recipes/rich.yaml:{told}"
    ]
    assert rich.artifacts("rich") == before
