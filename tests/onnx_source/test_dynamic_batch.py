"""A batch that an ONNX file leaves open is proven at 1, 2 and 5, or the file is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.cutting.structures import Weights, parsed

from .files import detector
from .projects import TWO, Project

ONE_LINE = "model: {{source: onnx, path: net.onnx}}\npartition: {{type: {policy}}}\n"
SIZED = "export: {inputs: {image: {shape: [1, 3, 8, 8]}}}\n"
WEIGHTS: Weights = {
    "w": (4, 3, 1, 1),
    "m": (256, 5),
    "one": np.array([1, -1]),
    "same": np.array([0, -1]),
}


def net(shape: str) -> onnx.ModelProto:
    nodes = f"a = Conv(image, w) f = Reshape(a, {shape}) h = MatMul(f, m) y = Sigmoid(h)"
    return parsed(nodes, WEIGHTS, inputs="float[n,3,8,8] image", outputs="float[n,5] y")


@pytest.mark.parametrize("policy", ["no_postprocess", "raw_heads"])
def test_a_file_with_an_open_batch_is_proven_with_one_two_and_five(
    project: Project, policy: str
) -> None:
    project.save(net("same"), "net.onnx")
    project.recipe(ONE_LINE.format(policy=policy) + SIZED)
    said = project.built("build", "recipe=x")
    assert "proven on 4 inputs, at batch 1, 2 and 5: the segments in a chain equal" in said
    shapes = [sample.inputs["image"].shape[0] for sample in project.recording().samples]
    assert shapes == [1, 1, 2, 5]


def test_marks_of_the_recipe_s_own_and_dims_without_a_name_are_proven_so_too(
    project: Project,
) -> None:
    model = detector(("", 3, 16, 16))
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    project.save(model)
    project.recipe(TWO + "export: {inputs: {image: {shape: [3, 3, 16, 16]}}}\n")
    assert ", at batch 1, 2, 3 and 5: " in project.proven()[0]


def test_arrays_of_files_are_repeated_for_other_batches(project: Project) -> None:
    project.save(net("same"), "net.onnx")
    given = np.random.default_rng(0).normal(0, 0.05, (2, 3, 8, 8)).astype(np.float32)
    np.savez(project.folder / "a.npz", image=given)
    np.savez(project.folder / "b.npz", image=given * 2)
    project.recipe(ONE_LINE.format(policy="raw_heads") + "proof: {inputs: [a.npz, b.npz]}\n")
    project.make()
    _, _, one, five = (sample.inputs["image"] for sample in project.recording().samples)
    assert np.array_equal(one, given[:1])
    assert np.array_equal(five, given[[0, 1, 0, 1, 0]] * 2)


def test_a_file_whose_batch_is_fixed_inside_is_refused(project: Project) -> None:
    project.save(net("one"), "net.onnx")
    project.recipe(ONE_LINE.format(policy="raw_heads") + SIZED)
    refused = project.refused()
    assert refused.startswith(
        "recipes/x.yaml:1: model.path: 'net.onnx': dim 0 of its inputs is open, and it does not "
        "run with a batch of 2; "
    )
    assert "MatMul" in refused
    assert refused.endswith("; name the batches that it runs with, such as `proof: {batches: [1]}`")
    project.recipe(ONE_LINE.format(policy="raw_heads") + SIZED + "proof: {batches: [1]}\n")
    assert ", at batch 1: " in project.proven()[0]


def test_a_file_without_an_open_batch_has_no_further_inputs(project: Project) -> None:
    project.recipe(TWO)
    line, figures = project.proven()
    assert "batch" not in line
    assert len(figures["samples"]) == 2
    assert "batches" not in figures


def test_a_file_that_types_a_tensor_with_the_batch_of_its_example_is_refused(
    project: Project,
) -> None:
    model = net("same")
    stale = onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, [1, 5])
    model.graph.value_info.append(stale)
    project.save(model, "net.onnx")
    project.recipe(ONE_LINE.format(policy="raw_heads") + SIZED)
    assert "postprocess.onnx" in (refused := project.refused())
    assert "Got invalid dimensions for input: h" in refused
    assert "Got: 2 Expected: 1" in refused
