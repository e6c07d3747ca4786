"""A free batch of PyTorch modules and of mmdet's detectors, proven at 1, 2 and 5."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cutting.chains import run
from tests.projects import SMALL_DETECTOR, Scratch

TORCH = """\
model: {{source: torch, factory: 'tiny:{factory}', weights: {{seed: 0}}}}
export: {{inputs: {{image: {{shape: {shape}}}}}, dynamic_axes: {{image: {{0: batch}}}}}}
partition: {{type: {policy}}}
"""

MMDET = """\
model: {{source: mmdet, config: small.py, weights: {{seed: 0}}}}
export: {{inputs: {{input: {{shape: [1, 3, 64, 64]}}}}, dynamic_axes: {{input: {{0: batch}}}}}}
partition: {{type: {policy}}}
"""

BAKED = """
from tiny import Tiny, build, decode, nn, torch


class Reshaped(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.last = nn.Linear(4 * 32 * 32, 5)

    def forward(self, image):
        return self.last(self.conv(image).reshape(1, -1)).sigmoid()


class Looped(Reshaped):
    def forward(self, image):
        rows = [self.last(self.conv(image[k : k + 1]).flatten(1)) for k in range(len(image))]
        return torch.cat(rows).sigmoid()
"""


@pytest.fixture
def project(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "project", tmp_path / "store")


def first_dims(path: Path) -> set[str | int]:
    graph = onnx.load(path).graph
    dims = [value.type.tensor_type.shape.dim[0] for value in (*graph.input, *graph.output)]
    return {dim.dim_param or dim.dim_value for dim in dims}


@pytest.mark.parametrize("policy", ["no_postprocess", "raw_heads"])
def test_a_module_of_one_picture_is_proven_with_one_two_and_five(
    project: Scratch, policy: str
) -> None:
    recipe = TORCH.format(factory="build", shape="[1, 3, 32, 32]", policy=policy)
    project.write("recipes/tiny.yaml", recipe)
    assert "inputs, at batch 1, 2 and 5: the segments in a chain equal" in project.built()
    folder = project.folder / "build" / "tiny"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["proof"]["batches"] == [1, 2, 5]
    images = np.random.default_rng(1).normal(size=(7, 3, 32, 32)).astype(np.float32)
    assert first_dims(folder / "network.onnx") == {"batch"}
    maps = run(folder / "network.onnx", {"image": images})
    (together,) = run(folder / "postprocess.onnx", maps).values()
    for number, image in enumerate(images):
        (alone,) = run(folder / "end2end.onnx", {"image": image[None]}).values()
        np.testing.assert_allclose(together[number], alone[0], atol=1e-5)


def test_other_batches_are_proven_if_the_recipe_asks(project: Scratch) -> None:
    recipe = TORCH.format(factory="build", shape="[3, 3, 32, 32]", policy="raw_heads")
    project.write("recipes/tiny.yaml", recipe + "proof: {batches: [4, 9]}\n")
    assert ", at batch 3, 4 and 9: " in project.built()


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (
            "Reshaped",
            "recipes/tiny.yaml:2: export.dynamic_axes: with 'batch' = 2 the model does not run in "
            "PyTorch; RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x8192 and 4096x5); "
            "leave out the sizes that the model fixes, or change the model",
        ),
        (
            "Looped",
            "recipes/tiny.yaml:2: export.dynamic_axes.image: dim 0 of 'image' cannot be dynamic: "
            "the model fixes it at 2; a dim can be dynamic if no code of the model depends on its "
            "value; leave 'batch' out, or change the model",
        ),
    ],
)
def test_a_module_whose_batch_is_fixed_inside_is_refused(
    project: Scratch, factory: str, problem: str
) -> None:
    project.write("baked.py", BAKED)
    recipe = TORCH.format(factory=factory, shape="[1, 3, 32, 32]", policy="no_postprocess")
    project.write("recipes/tiny.yaml", recipe.replace("tiny:", "baked:"))
    refused = project.doit("build")
    assert refused.returncode
    assert problem in refused.stdout
    assert "Traceback" not in refused.stdout
    assert not (project.folder / "build" / "tiny").exists()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("policy", "files"),
    [
        ("no_postprocess", ["network.onnx"]),
        ("raw_heads", ["network.onnx"]),
        ("backbone_head", ["backbone.onnx", "head.onnx"]),
    ],
)
def test_the_network_of_a_detector_takes_any_number_of_pictures(
    project: Scratch, policy: str, files: list[str]
) -> None:
    project.write("small.py", SMALL_DETECTOR)
    project.write("recipes/tiny.yaml", MMDET.format(policy=policy))
    assert ", at batch 1, 2 and 5: the segments in a chain equal" in project.built()
    folder = project.folder / "build" / "tiny"
    assert sorted(path.name for path in folder.glob("*.onnx")) == sorted([*files, "end2end.onnx"])
    pictures = np.random.default_rng(1).normal(size=(3, 3, 64, 64)).astype(np.float32)
    together = {"input": pictures}
    for file in files:
        assert first_dims(folder / file) == {"batch"}
        together = run(folder / file, together)
    heads = list(together.values())
    assert [array.shape for array in heads] == [(3, 3, 16, 16), (3, 4, 16, 16)]
    alone = run(folder / "end2end.onnx", {"input": pictures[1:2]}).values()
    for many, one in zip(heads, alone, strict=True):
        np.testing.assert_allclose(many[1], one[0], atol=1e-5)
    refused = project.doit("detect", "recipe=tiny", "image=small.py")
    assert refused.returncode
    assert "Traceback" not in refused.stdout
