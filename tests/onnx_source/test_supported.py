"""What a runtime supports decides where a file is cut, and into how many segments."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cutting.chains import equal, run
from tests.cutting.structures import Weights, parsed

from .projects import Project

NODES = """
    a = Conv(image, w0) b = Mish(a) c = Conv(b, w1) r = Reshape(c, flat) s = Sigmoid(r)
    t = Transpose<perm=[0,2,1]>(s) v, i = TopK<axis=1>(t, k) d = Softmax(v) y = Mul(d, two)
"""
WEIGHTS: Weights = {
    "w0": (4, 3, 1, 1),
    "w1": (5, 4, 1, 1),
    "flat": np.array([1, 5, -1]),
    "k": np.array([3]),
    "two": np.float32(2),
}
RECIPE = """\
model: {source: onnx, path: net.onnx}
partition: {type: supported, operators: {file: npu.yaml}}
"""
NPU = """\
operators:
  Conv: {constant: [1], dtypes: [float32]}
  Reshape: {}
  Sigmoid: {}
  Transpose: {}
  Softmax: {}
  Mul: {}
"""
FOUR = ["supported.onnx", "rest.onnx", "supported_2.onnx", "rest_2.onnx"]


@pytest.fixture
def files(project: Project) -> Project:
    """Return a project with a network and a list of operators."""
    model = parsed(NODES, WEIGHTS, "float[1,3,8,8] image", "float[1,3,5] y")
    project.save(model, "net.onnx")
    project.write("npu.yaml", NPU)
    project.recipe(RECIPE)
    return project


def segments(project: Project) -> list[str]:
    """Return the files of the segments that the manifest lists; there are no others."""
    folder = project.folder / "build" / "x"
    manifest = json.loads((folder / "manifest.json").read_text())
    names = [segment["save_file"] for segment in manifest["segments"]]
    assert {path.name for path in folder.glob("*.onnx")} == {"end2end.onnx", *names}
    return names


def test_a_first_build_finds_how_many_segments_there_are(files: Project) -> None:
    explained = files.built("build", "recipe=x", "--dry-run")
    assert "x: cut segments: build if the result of 'export' changes" in explained
    said = files.built("build", "recipe=x")
    assert (
        "x: divided by operators into supported, rest, supported_2, rest_2; not supported: Mish is "
        "not in the list (1), TopK is not in the list (1)" in said
    )
    assert "chain equal end2end bit for bit (4 boundary tensors)" in said
    assert all(f"build/x/{name}: built" in said for name in FOUR)
    assert segments(files) == FOUR
    folder = files.folder / "build" / "x"
    values = {"image": np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)}
    whole = run(files.folder / "net.onnx", values)
    for name in FOUR:
        values = run(folder / name, values)
    assert equal(values["y"], whole["y"])
    for name in FOUR[::2]:
        operators = {node.op_type for node in onnx.load(folder / name).graph.node}
        assert operators <= {"Conv", "Reshape", "Sigmoid", "Transpose"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["export"]["unsupported"] == [
        "rest: Mish is not in the list",
        "rest_2: TopK is not in the list",
    ]
    assert "x: up to date (6 artifacts in build/x)" in files.built("build", "recipe=x")
    assert "cut:x:supported_2.onnx" in files.built("list", "--all")


def test_another_list_is_another_cut_and_the_same_list_is_a_cache_hit(files: Project) -> None:
    files.built("build", "recipe=x")
    files.write("npu.yaml", NPU + "  Mish: {}\n")
    assert "into supported, rest; not" in files.built("-n", "2", "build", "recipe=x")
    assert segments(files) == FOUR[:2]
    files.write("npu.yaml", NPU)
    said = files.built("build", "recipe=x")
    assert "build/x/supported_2.onnx: restored from the store" in said
    assert segments(files) == FOUR
    (files.folder / "build" / "x" / "rest_2.onnx").unlink()
    files.built("build", "recipe=x")
    assert segments(files) == FOUR


def test_steps_can_be_asked_for_one_by_one(files: Project) -> None:
    said = files.built("cut", "recipe=x")
    assert "x: cut rest_2.onnx" in said
    assert "x: prove" not in said
    said = files.built("prove", "recipe=x")
    assert "x: prove" in said
    assert "x: cut" not in said
    assert not (files.folder / "build" / "x").exists()


def test_suggest_shows_the_division_and_the_recipe(files: Project) -> None:
    files.recipe("model: {source: onnx, path: net.onnx}\npartition: {type: raw_heads}\n")
    said = files.built("suggest", "recipe=x", "operators=npu.yaml").splitlines()
    start = said.index("x: 4 parts by the operators of npu.yaml")
    assert said[start + 1 :] == [
        "part         nodes  weights  starts at  ends at",
        "supported        1     48 B  image      a",
        "rest             1      0 B  a          b",
        "supported_2      4     80 B  b          t",
        "rest_2           3      4 B  t          y",
        "not supported: 2 nodes",
        "  rest: Mish is not in the list",
        "  rest_2: TopK is not in the list",
        "partition: {type: supported, operators: {file: npu.yaml}}",
    ]
    assert "1 part by the operators of tensorrt" in files.built(
        "suggest", "recipe=x", "operators=tensorrt"
    )
    refused = files.doit("suggest", "recipe=x", "operators=npx.yaml")
    assert "operators=npx.yaml: there is no file 'npx.yaml'" in refused.stdout
    assert "did you mean 'npu.yaml'?" in refused.stdout


def test_a_list_without_the_operators_of_the_network_leaves_no_file(files: Project) -> None:
    files.write("npu.yaml", "operators: [Relu]\n")
    refused = files.doit("build", "recipe=x")
    assert refused.returncode
    assert (
        "recipes/x.yaml:2: partition.operators: no operator with weights is supported by this "
        "list; Conv is not in the list" in refused.stdout
    )
    assert not (files.folder / "build" / "x").exists()


def test_a_pull_finds_how_many_segments_there_are(files: Project, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    files.environment["PARTITION_CORE_REMOTE"] = str(tmp_path / "shared")
    files.built("build", "recipe=x")
    files.built("push", "recipe=x")
    for folder in (files.folder / "build", files.store):
        shutil.rmtree(folder)
    said = files.built("pull", "recipe=x", "artifact=supported_2.onnx")
    assert "x: cut supported_2.onnx: got supported_2.onnx" in said
    assert [path.name for path in (files.folder / "build" / "x").iterdir()] == [FOUR[2]]
    files.built("pull", "recipe=x")
    assert segments(files) == FOUR
