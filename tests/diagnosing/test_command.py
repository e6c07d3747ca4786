"""`doit diagnose` on real targets: what it prints, what it writes, and that this stands alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.onnx_source.projects import Project
from tests.projects import ROOT

from .upscaled import upscaled

UP = """\
model: {source: onnx, path: up.onnx}
partition: {save_file: maps.onnx, from: [image], to: [conv_8], targets: [ncnn, openvino]}
"""
TWO = """\
model: {source: onnx, path: odd.onnx}
marks:
  - {name: whole, inputs: [image], outputs: [conv_8]}
  - {name: low, tensors: [leakyrelu_1]}
partition:
  type: two
  segments:
    - {save_file: body.onnx, start: ['whole:input'], end: ['low:input']}
    - {save_file: head.onnx, start: ['low:output'], end: ['whole:output']}
"""
FOLDER = "build/up/diagnosis/maps.ncnn"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose model pnnx converts wrongly, and one that pnnx does not convert."""
    folder = tmp_path_factory.mktemp("diagnosed")
    project = Project(folder / "project", folder / "store")
    project.save(upscaled(), "up.onnx")
    project.save(upscaled(mode="nearest", nearest_mode="ceil"), "odd.onnx")
    project.recipe(UP, "up")
    project.recipe(TWO, "odd")
    return project


@pytest.fixture(scope="module")
def lines(project: Project) -> list[str]:
    """What the command says of the target that is wrong."""
    return project.built("diagnose", "recipe=up", "target=ncnn").splitlines()


def diagnosed(project: Project, *arguments: str) -> list[str]:
    return project.built("diagnose", *arguments).splitlines()


def found(lines: list[str]) -> list[str]:
    """Return the lines from the one that says what was found."""
    start = next(i for i, line in enumerate(lines) if " is the first " in line)
    return lines[start:]


def test_a_failed_comparison_names_the_command(project: Project) -> None:
    run = project.doit("build", "recipe=up")
    assert run.returncode != 0
    command = "`doit diagnose recipe=up target=maps.onnx=ncnn` finds the first tensor that differs"
    assert command in run.stdout


def test_the_first_line_names_the_tensor_the_node_and_its_operator(lines: list[str]) -> None:
    first, tried, least, *_ = found(lines)
    assert first.startswith(
        "'resize_4' is the first tensor that differs: Resize node '/resize_4' in ncnn, relative L2 "
    )
    assert "of 9 tensors; what its node reads was tried too, and agrees" in tried
    assert least == "the node alone shows it, fed with the true values: Resize '/resize_4'"
    page = (ROOT / "docs" / "diagnose.md").read_text(encoding="utf-8")
    assert "\n".join([first, tried, least]) in page


@pytest.mark.usefixtures("lines")
def test_what_is_written_shows_it_elsewhere_without_this_package(
    project: Project, tmp_path: Path
) -> None:
    written = project.folder / FOLDER
    assert {path.name for path in written.iterdir()} == {
        *("culprit.onnx", "inputs.npz", "expected.npz", "reproduce.py", "report.md"),
        *("culprit.ncnn.param", "culprit.ncnn.bin", "culprit.ncnn.json"),
    }
    assert [node.op_type for node in onnx.load(written / "culprit.onnx").graph.node] == ["Resize"]
    copy = shutil.copytree(written, tmp_path / "copy")
    program = (copy / "reproduce.py").read_text()
    assert "partition_core" not in program
    assert len([line for line in program.splitlines() if line]) < 32
    command = [sys.executable, "-I", "reproduce.py"]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (1, "")
    assert run.stdout.startswith("resize_4: relative L2 0.")
    # Where the difference is gone it says so: these are ncnn's own results.
    (copy / "reproduce.py").write_text(program.replace("expected.items()", "given.items()"))
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "resize_4: relative L2 0, allowed 0.0001\n")


@pytest.mark.usefixtures("lines")
def test_the_report_has_the_figures_and_the_attributes(project: Project) -> None:
    report = (project.folder / FOLDER / "report.md").read_text()
    assert "coordinate_transformation_mode=asymmetric, mode=linear" in report
    assert "`python reproduce.py` there shows it: resize_4: relative L2 0." in report
    assert "ncnn 1.0" in report and "onnxruntime 1." in report


def test_conversions_are_taken_from_the_store(project: Project, lines: list[str]) -> None:
    def entries() -> set[Path]:
        return {path for path in (project.store / "v1").rglob("*") if path.is_file()}

    before = {path for path in entries() if "ac" in path.parts}
    again = diagnosed(project, "recipe=up", "target=maps.onnx=ncnn", "out=elsewhere")
    assert {path for path in entries() if "ac" in path.parts} == before
    assert found(again)[:4] == found(lines)[:4]
    assert (project.folder / "elsewhere" / "culprit.onnx").is_file()


def test_a_target_that_agrees_is_told_with_figures(project: Project) -> None:
    told = diagnosed(project, "recipe=up", "target=openvino")
    (line,) = (line for line in told if line.startswith("all outputs agree"))
    assert line.startswith(
        "all outputs agree with onnxruntime's in openvino: 'conv_8' relative L2 "
    )
    assert not (project.folder / "build/up/diagnosis/maps.openvino").exists()


def test_a_segment_that_is_not_converted_names_the_node_that_cannot_be(project: Project) -> None:
    """The recipe has no target: any one can be diagnosed."""
    told = found(diagnosed(project, "recipe=odd", "target=head.onnx=ncnn"))
    assert told[0] == (
        "'resize_4' is the first tensor that cannot be converted: Resize node '/resize_4' in ncnn"
    )
    assert "pnnx leaves out Resize (1), which it cannot convert" in told[1]
    folder = project.folder / "build/odd/diagnosis/head.ncnn"
    assert [node.op_type for node in onnx.load(folder / "culprit.onnx").graph.node] == ["Resize"]
    assert "`python reproduce.py` there shows it: pnnx leaves out Resize" in told


def test_the_first_tensor_of_a_replaced_segment_that_differs(project: Project) -> None:
    model = upscaled()
    name = next(node for node in model.graph.node if node.name == "/conv_2").input[1]
    weight = next(each for each in model.graph.initializer if each.name == name)
    scaled = np.asarray(numpy_helper.to_array(weight) * np.float32(1.01))
    weight.CopyFrom(numpy_helper.from_array(scaled, name))
    model.graph.output[0].name = model.graph.node[-1].output[0] = "renamed"
    project.save(model, "other.onnx")
    told = diagnosed(project, "recipe=up", "segment=maps.onnx", "with=other.onnx")
    assert found(told)[0].startswith(
        "'conv_2' is the first tensor that differs: Conv node '/conv_2' of maps.onnx, relative L2 "
    )
    told = diagnosed(project, "recipe=up", "segment=maps.onnx", "with=other.onnx", "tolerance=0.1")
    assert any(line.startswith("all outputs of 'other.onnx' agree") for line in told)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["target=ncn"], "target=ncn: there is no target 'ncn'; expected one of 'ncnn', "),
        (["target=ncn"], "did you mean 'ncnn'?"),
        (["target=map.onnx=ncnn"], "the recipe has no segment 'map.onnx'; expected one of 'maps."),
        ([], "the recipe has 2 targets; expected one of 'maps.onnx=ncnn', 'maps.onnx=openvino'"),
        (["segment=maps.onnx"], "doit diagnose: with= is missing; expected target=SEGMENT"),
        (["target=ncnn", "against=pytorch"], "against= and target= do not go together"),
        (["against=tensorflow"], "against=tensorflow: unknown; expected one of 'pytorch'"),
        (["against=pytorch"], "the model is an ONNX file, which has no modules"),
        (["segment=maps.onnx", "with=othr.onnx"], "there is no file 'othr.onnx'"),
        (["target=ncnn", "tolerance=7"], "tolerance=7: not a tolerance; expected a number from 0"),
        (["target=ncnn", "out=dodo.py"], "out=dodo.py: it has other files than a diagnosis: dodo."),
        (
            ["target=ncnn", "out=recipes"],
            "out=recipes: it has other files than a diagnosis: odd.yaml",
        ),
    ],
)
def test_a_mistake_is_told(project: Project, arguments: list[str], message: str) -> None:
    run = project.doit("diagnose", "recipe=up", *arguments)
    assert run.returncode != 0
    assert message in run.stdout
    assert "Traceback" not in run.stdout
    assert (project.folder / "recipes" / "up.yaml").is_file()
