"""One line cuts off the post-processing of any PyTorch module."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cutting.chains import equal, run
from tests.projects import SMALL_DETECTOR, Scratch

LINE = """\
model: {source: torch, factory: 'tiny:build', args: {width: 8}, weights: {seed: 0}}
export: {inputs: {image: {shape: [1, 3, 32, 32]}}}
partition: {type: raw_heads}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Return a project whose module was built by one line."""
    folder = tmp_path_factory.mktemp("structural")
    project = Scratch(folder / "project", folder / "store")
    project.write("recipes/tiny.yaml", LINE)
    assert "end2end equals PyTorch" in project.built()
    return project


def test_the_network_gives_the_maps_of_both_heads_and_the_rest_is_the_tail(
    project: Scratch,
) -> None:
    folder = project.folder / "build" / "tiny"
    network, tail = (onnx.load(folder / name) for name in ("network.onnx", "postprocess.onnx"))
    assert {node.op_type for node in tail.graph.node}.isdisjoint({"Conv", "Mark"})
    assert {node.op_type for node in network.graph.node}.isdisjoint({"Sigmoid", "Concat", "Mark"})
    image = np.random.default_rng(1).normal(size=(1, 3, 32, 32)).astype(np.float32)
    maps = run(folder / "network.onnx", {"image": image})
    assert [array.shape for array in maps.values()] == [(1, 6, 16, 16), (1, 6, 8, 8)]
    (scores,) = run(folder / "postprocess.onnx", maps).values()
    (whole,) = run(folder / "end2end.onnx", {"image": image}).values()
    assert equal(scores, whole)
    assert np.ptp(whole) > 0.01


def test_what_pytorch_has_no_mark_for_is_calibrated_from_the_chain(
    project: Scratch, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", image=np.ones((1, 3, 32, 32), np.float32))
    refused = project.doit("calibrate", "recipe=tiny", f"images={tmp_path}", "from=pytorch")
    assert refused.returncode
    assert "postprocess.onnx: its input 'conv2d_2' is cut out of the exp" in refused.stdout
    assert "Traceback" not in refused.stdout
    project.built("calibrate", "recipe=tiny", f"images={tmp_path}")


def test_the_manifest_and_a_second_build_know_it(project: Scratch) -> None:
    manifest = json.loads((project.folder / "build" / "tiny" / "manifest.json").read_text())
    edges = [(edge["producer"], edge["consumer"]) for edge in manifest["edges"]]
    assert edges.count(("network.onnx", "postprocess.onnx")) == 2
    assert "up to date" in project.built()


@pytest.mark.thorough
def test_a_detector_of_mmdet_is_cut_in_front_of_all_its_reshapes(tmp_path: Path) -> None:
    project = Scratch(tmp_path / "project", tmp_path / "store")
    project.write("small.py", SMALL_DETECTOR)
    project.write(
        "recipes/tiny.yaml",
        "model: {source: mmdet, config: small.py, weights: {seed: 0}}\n"
        "export: {inputs: {input: {shape: [1, 3, 64, 64]}}}\n"
        "partition: {type: raw_heads}\n",
    )
    assert "detections equal to PyTorch's" in project.built()
    network = onnx.load(project.folder / "build" / "tiny" / "network.onnx")
    shapes = [
        [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in network.graph.output
    ]
    assert shapes == [[1, 3, 16, 16], [1, 4, 16, 16]]
