"""Files whose outputs change when onnxruntime is asked for inner tensors: 16-bit floats."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnx.checker
import onnx.parser
import pytest
from onnx import numpy_helper

from tests.cutting.chains import equal, run

from .chaining import HEAD, LINE, two
from .projects import Project

STRICT = "proof: {tolerance: 1.0e-4}\n"
HALVES = """
agraph (float[4, 16] x) => (float[4, 16] y) {
  h = Cast <to = 10> (x)
  a = MatMul (h, w1)
  b = Relu (a)
  c = MatMul (b, w2)
  d = Sigmoid (c)
  y = Cast <to = 1> (d)
}
"""


def halves(text: str = HALVES) -> onnx.ModelProto:
    """Return a net that computes in float16."""
    made = onnx.parser.parse_model(HEAD + text)
    for seed, name in enumerate(("w1", "w2")):
        weights = np.random.default_rng(seed).normal(0, 0.5, (16, 16)).astype(np.float16)
        made.graph.initializer.append(numpy_helper.from_array(weights, name))
    onnx.checker.check_model(made)
    return made


def until(tensor: str) -> str:
    return LINE + f"partition: {{save_file: part.onnx, from: [x], to: [{tensor}]}}\n"


def untouched(project: Project, number: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return a sample of the proof, and what the file itself gives for it."""
    feeds = {"x": project.recording().samples[number].inputs["x"]}
    return feeds, run(project.folder / "detector.onnx", feeds)["y"]


def test_the_difference_to_the_file_itself_is_told(project: Project) -> None:
    """The marked tensor is rounded, and in the file it is not."""
    project.save(halves())
    project.recipe(two("d", "'y'", "x"))
    told, figures = project.proven()
    made = project.folder / "end2end.onnx"
    onnx.save(project.make()["end2end.onnx"], made)
    marked = halves()
    marked.graph.output.append(onnx.ValueInfoProto(name="d"))
    asked = project.save(marked, "asked.onnx")
    largest = 0.0
    for number, sample in enumerate(figures["samples"]):
        feeds, given = untouched(project, number)
        assert equal(project.recording().samples[number].outputs["y"], given)
        assert not equal(run(asked, feeds)["y"], given)
        apart = float(np.abs(run(made, feeds)["y"].astype(np.float64) - given).max())
        assert sample["outputs"]["y"]["largest_difference"] == apart > 1e-4
        largest = max(largest, apart / float(np.abs(given).max()))
    assert f"end2end equals the ONNX file within {largest:.1e} of" in told


@pytest.mark.parametrize("tensor", ["a", "b", "c"])
def test_a_segment_that_rounds_where_nothing_else_does_is_told(
    project: Project, tensor: str
) -> None:
    """end2end with a mark gives what the file does, until the mark's tensor is asked for."""
    project.save(halves())
    project.recipe(until(f"'{tensor}'"))
    told, figures = project.proven()
    changes = []
    for number, sample in enumerate(figures["samples"]):
        assert sample["outputs"]["y"]["largest_difference"] == 0
        feeds, given = untouched(project, number)
        rounded = onnx.load(project.folder / "detector.onnx")
        for node in rounded.graph.node[-5 + "abc".index(tensor) :]:
            node.input[:] = ["rounded" if one == tensor else one for one in node.input]
        rounded.graph.input.append(
            onnx.helper.make_tensor_value_info("rounded", onnx.TensorProto.FLOAT16, [4, 16])
        )
        onnx.save(rounded, project.folder / "rest.onnx")
        part = run_part(project, feeds)
        rest = run(project.folder / "rest.onnx", {**feeds, "rounded": part[tensor]})["y"]
        apart = float(np.abs(rest.astype(np.float64) - given).max())
        assert sample["observed"]["outputs"]["y"]["largest_difference"] == apart > 0
        assert sample["observed"]["changes"]["y"]["largest_difference"] == apart
        changes.append(apart)
    assert f"as outputs, which changes it by up to {max(changes):.1e}, end2end equals" in told
    assert "within 0.0e+00" not in told


def run_part(project: Project, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    part = project.folder / "part.onnx"
    onnx.save(project.make()["part.onnx"], part)
    return run(part, feeds)


@pytest.mark.parametrize("recipe", [two("d", "'y'", "x"), two("h", "'y'", "x"), until("a")])
def test_a_difference_above_the_tolerance_is_refused_with_its_reason(
    project: Project, recipe: str
) -> None:
    project.save(halves())
    project.recipe(recipe + STRICT)
    (line, *_) = [one for one in project.refused().splitlines() if one.startswith("output 'y'")]
    assert " differs from the ONNX file by 0.000" in line
    assert "the model computes in float16, which onnxruntime rounds only where" in line
    assert "allow the difference by 'proof.tolerance'" in line


@pytest.mark.parametrize("idle", ["a", "b", "c"])
def test_a_mark_where_nothing_is_cut_rounds_in_the_segment_too(project: Project, idle: str) -> None:
    """onnxruntime computes across two nodes in float32, unless what lies between is not alone."""
    project.save(halves())
    mark = f"  - {{name: idle, tensors: [{idle}]}}\npartition:"
    project.recipe(two("d", "'y'", "x").replace("partition:", mark))
    project.proven()
    segment = project.make()["a.onnx"]
    assert [node.op_type for node in segment.graph.node].count("Identity") == 2


def test_a_file_in_float16_is_built_by_doit(project: Project) -> None:
    project.save(halves())
    project.recipe(two("d", "'y'", "x") + STRICT)
    run = project.doit("build", "recipe=x")
    assert run.returncode != 0
    assert "allow the difference by 'proof.tolerance'" in run.stdout
    assert "Traceback" not in run.stdout
    assert not (project.folder / "build" / "x").exists()
    project.recipe(two("d", "'y'", "x"))
    said = project.built("build", "recipe=x")
    manifest = json.loads(project.artifacts("x")["manifest.json"])
    apart = [one["outputs"]["y"]["largest_difference"] for one in manifest["proof"]["samples"]]
    assert min(apart) > 1e-4
    assert "end2end equals the ONNX file within 2." in said
    assert manifest["summary"] in said
    assert manifest["proof"]["tolerance"] == 0.01


def test_the_report_tells_the_difference(project: Project) -> None:
    project.save(halves())
    project.recipe(until("a"))
    project.environment["PARTITION_CORE_REPORT"] = "1"
    project.built("build", "recipe=x")
    page = (project.folder / "build" / "x" / "report.html").read_text()
    assert "end2end \N{MINUS SIGN} the ONNX file" in page
    assert "PyTorch" not in page
    assert "as outputs, which changes it by up to" in page


def test_what_a_bfloat16_rounds_inside_a_segment_changes_nothing(project: Project) -> None:
    text = "h = Cast <to = 10> (x)\n  a = MatMul (h, w1)"
    project.save(
        halves(
            HALVES.replace(text, text.replace("(h,", "(k,") + "\n").replace(
                "a = MatMul (k", "g = Cast <to = 16> (h)\n  k = Cast <to = 10> (g)\n  a = MatMul (k"
            )
        )
    )
    project.recipe(until("'y'"))
    told, _ = project.proven()
    assert "within 0.0e+00" in told
    project.recipe(until("g"))
    told, _ = project.proven()
    assert "within 0.0e+00" in told


def test_doubles_are_not_rounded(project: Project) -> None:
    text = HALVES.replace("10", "11")
    made = onnx.parser.parse_model(HEAD + text)
    for name in ("w1", "w2"):
        weights = np.random.default_rng(3).normal(0, 0.5, (16, 16))
        made.graph.initializer.append(numpy_helper.from_array(weights, name))
    project.save(made)
    for tensor in "habcd":
        project.recipe(two(tensor, "'y'", "x"))
        assert "within 0.0e+00" in project.proven()[0]
