"""What is in front of an operator that nothing here can run is cut and proven all the same."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest

from tests.cutting.chains import equal, run
from tests.cutting.structures import Weights, parsed

from .projects import Project

FRONT = "a = Conv(image, w0) b = Relu(a) c = Conv(b, w1)"
PLUGIN = f"""
    {FRONT} r = Reshape(c, flat) s = Sigmoid(r)
    t = Transpose<perm=[0,2,1]>(s) boxes, scores = Split<axis=2>(t, parts)
    n, dets = TRT.EfficientNMS_TRT(boxes, scores) y = Mul(dets, two) z = Exp(scores)
"""
WEIGHTS: Weights = {
    "w0": (4, 3, 1, 1),
    "w1": (6, 4, 1, 1),
    "flat": np.array([1, 6, -1]),
    "parts": np.array([4, 2]),
    "two": np.float32(2),
}
OUTPUTS = "int32[1,1] n, float[1,10,4] y, float[1,64,2] z"
RECIPE = "model: {source: onnx, path: net.onnx}\npartition: {type: raw_heads}\n"
ALLOW = "proof: {unproven: allow}\n"


def plugin(nodes: str = PLUGIN, outputs: str = OUTPUTS) -> onnx.ModelProto:
    """Return a detector whose suppression is a plugin of TensorRT."""
    model = parsed(nodes, WEIGHTS, "float[1,3,8,8] image", outputs)
    model.opset_import.append(onnx.helper.make_opsetid("TRT", 1))
    return model


def manifest(project: Project) -> Any:
    """Return the manifest of the build."""
    return json.loads((project.folder / "build" / "x" / "manifest.json").read_text())


def test_it_is_refused_with_the_key_that_allows_it(project: Project) -> None:
    project.save(plugin(), "net.onnx")
    project.recipe(RECIPE)
    refused = project.doit("build", "recipe=x")
    assert (
        "ERROR: recipes/x.yaml:1: model.path: 'net.onnx': onnxruntime has no operator "
        "'TRT.EfficientNMS_TRT'; write `proof: {unproven: allow}` to prove only what needs none of "
        "its results\n" in refused.stdout
    )
    assert not (project.folder / "build" / "x").exists()


@pytest.mark.parametrize("external", [False, True], ids=["inline", "external"])
def test_what_runs_is_proven_and_the_rest_is_called_unproven(
    project: Project, external: bool
) -> None:
    path = project.save(plugin(), "net.onnx")
    if external:
        model = onnx.load(path)
        onnx.save(model, path, save_as_external_data=True, location="net.bin", size_threshold=80)
    project.recipe(RECIPE + ALLOW + ("export: {weights: shared}\n" if external else ""))
    said = project.built("build", "recipe=x")
    assert (
        "x: partly proven on 2 inputs: the segments in a chain equal end2end bit for bit (1 "
        "boundary tensor), end2end equals the ONNX file within 0.0e+00 of each tensor's "
        "largest value; unproven: postprocess.onnx, output 'n', output 'y', as onnxruntime lacks "
        "TRT.EfficientNMS_TRT" in said
    )
    proof = manifest(project)["proof"]
    assert proof["not_run"] == {
        "operators": ["TRT.EfficientNMS_TRT"],
        "segments": ["postprocess.onnx"],
        "outputs": ["n", "y"],
    }
    # What the plugin would read is compared with the file as well, and so is the other output.
    assert sorted(proof["samples"][0]["outputs"]) == ["boxes", "scores", "z"]
    folder = project.folder / "build" / "x"
    image = np.random.default_rng(3).normal(size=(1, 3, 8, 8)).astype(np.float32)
    (maps,) = run(folder / "network.onnx", {"image": image}).values()
    front = parsed(FRONT, WEIGHTS, "float[1,3,8,8] image", "float[1,6,8,8] c")
    onnx.save(front, project.folder / "front.onnx")
    assert equal(maps, run(project.folder / "front.onnx", {"image": image})["c"])
    tail = onnx.load(folder / "postprocess.onnx", load_external_data=False).graph
    assert "EfficientNMS_TRT" in {node.op_type for node in tail.node}
    assert "x: up to date" in project.built("build", "recipe=x")


def test_the_report_says_it(project: Project) -> None:
    project.save(plugin(), "net.onnx")
    project.recipe(RECIPE + ALLOW)
    project.environment["PARTITION_CORE_REPORT"] = "1"
    said = project.built("build", "recipe=x")
    assert "measure network.onnx" in said
    assert "measure postprocess.onnx" not in said
    page = (project.folder / "build" / "x" / "report.html").read_text()
    assert "Unproven: postprocess.onnx, output &#39;n&#39;" in page
    assert "not run here" in page


def test_a_segment_must_be_in_front_of_it(project: Project) -> None:
    project.save(plugin(), "net.onnx")
    project.recipe(
        "model: {source: onnx, path: net.onnx}\n"
        "partition: {save_file: tail.onnx, from: [boxes, scores], to: [y]}\n" + ALLOW
    )
    refused = project.doit("build", "recipe=x")
    assert (
        "ERROR: recipes/x.yaml: proof: every segment needs an operator that onnxruntime lacks: "
        "TRT.EfficientNMS_TRT; expected a segment in front of it that can be proven"
        in refused.stdout
    )
    assert not (project.folder / "build" / "x").exists()


def test_two_operators_can_be_missing(project: Project) -> None:
    nodes = PLUGIN.replace("z = Exp(scores)", "u = TRT.Other(scores) z = Exp(u)")
    project.save(plugin(nodes), "net.onnx")
    project.recipe(RECIPE + ALLOW)
    said = project.built("build", "recipe=x")
    assert "output 'z', as onnxruntime lacks " in said
    assert sorted(manifest(project)["proof"]["not_run"]["operators"]) == [
        "TRT.EfficientNMS_TRT",
        "TRT.Other",
    ]


VACUOUS = f"{FRONT} m = Mul(c, zero) y = Exp(m)"


def test_an_output_that_says_nothing_refuses_only_itself(project: Project) -> None:
    model = parsed(
        VACUOUS, {**WEIGHTS, "zero": np.float32(0)}, "float[1,3,8,8] image", "float[1,6,8,8] y"
    )
    project.save(model, "net.onnx")
    project.recipe(RECIPE)
    refused = project.doit("build", "recipe=x").stdout
    assert "output 'y', sample 0: " in refused
    assert "which proves nothing" in refused
    project.recipe(RECIPE + ALLOW)
    said = project.built("build", "recipe=x")
    assert "x: partly proven on 2 inputs" in said
    assert "; unproven: output 'y', sample 0: " in said
    assert manifest(project)["proof"]["vacuous"]


def test_nothing_is_built_where_nothing_depends_on_the_input(project: Project) -> None:
    nodes = "z = Mul(image, zero) a = Conv(z, w0) y = Exp(a)"
    model = parsed(
        nodes, {**WEIGHTS, "zero": np.float32(0)}, "float[1,3,8,8] image", "float[1,4,8,8] y"
    )
    project.save(model, "net.onnx")
    project.recipe(RECIPE + ALLOW)
    refused = project.doit("build", "recipe=x")
    assert refused.returncode
    assert "proves nothing" in refused.stdout
