"""`doit merge` puts segments that were changed outside back into one file, and compares it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.cutting.chains import equal, run

from .files import detector
from .projects import TWO, Project


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose recipe was built."""
    folder = tmp_path_factory.mktemp("merge")
    project = Project(folder / "project", folder / "store")
    project.save(detector())
    project.recipe(TWO)
    project.built("build", "recipe=x")
    return project


def part(project: Project, name: str) -> onnx.ModelProto:
    return onnx.load(project.folder / "build" / "x" / name)


def refused(project: Project, *arguments: str) -> str:
    done = project.doit("merge", "recipe=x", *arguments)
    assert done.returncode
    assert "Traceback" not in done.stdout
    assert not list(project.folder.glob("build/x/merged*"))
    return done.stdout


def image() -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(7).normal(size=(1, 3, 16, 16)).astype(np.float32)}


def test_a_replaced_segment_with_clashing_names_gives_the_same_file_bit_for_bit(
    built: Project,
) -> None:
    other = part(built, "head.onnx")
    renames = {"head": "conv_2", "w3": "w1"}  # names of the body
    for node in other.graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]
        node.output[:] = [renames.get(name, name) for name in node.output]
    for tensor in other.graph.initializer:
        tensor.name = renames.get(tensor.name, tensor.name)
    del other.graph.value_info[:]
    built.save(other, "other.onnx")
    said = built.built("merge", "recipe=x", "with=head.onnx=other.onnx")
    assert "build/x/merged.onnx: written, " in said
    assert "1 segment replaced" in said
    assert "scores: equals end2end.onnx's bit for bit on 2 inputs" in said
    merged = built.folder / "build/x/merged.onnx"
    onnx.checker.check_model(onnx.load(merged), full_check=True)
    ours, theirs = run(merged, image()), run(built.folder / "detector.onnx", image())
    assert list(ours) == list(theirs) == ["scores", "boxes"]
    assert all(equal(ours[name], theirs[name]) for name in theirs)
    names = [node.name for node in onnx.load(merged).graph.node]
    assert len(names) == len(set(names))
    merged.unlink()


def test_all_segments_can_be_replaced_from_other_folders_and_with_external_data(
    built: Project, tmp_path: Path
) -> None:
    for number, name in enumerate(("body.onnx", "head.onnx")):
        folder = tmp_path / str(number)
        folder.mkdir()
        onnx.save(
            part(built, name),
            folder / name,
            save_as_external_data=True,
            location="weights",
            size_threshold=0,
        )
    pairs = f"body.onnx={tmp_path}/0/body.onnx,head.onnx={tmp_path}/1/head.onnx"
    target = tmp_path / "out" / "both.onnx"
    said = built.built("merge", "recipe=x", f"with={pairs}", f"out={target}")
    assert "2 segments replaced" in said
    ours, theirs = run(target, image()), run(built.folder / "detector.onnx", image())
    assert all(equal(ours[name], theirs[name]) for name in theirs)
    assert [path.name for path in target.parent.iterdir()] == ["both.onnx"]


def lossy(project: Project, factor: float = 1.01) -> None:
    other = part(project, "head.onnx")
    (weight,) = (t for t in other.graph.initializer if t.name == "w3")
    array = numpy_helper.to_array(weight) * np.float32(factor)
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    project.save(other, "other.onnx")


def test_a_lossy_segment_is_published_only_within_the_tolerance(built: Project) -> None:
    lossy(built)
    said = refused(built, "with=head.onnx=other.onnx")
    assert "output 'boxes': differs from end2end.onnx's by up to " in said
    assert (
        "of its largest value on 2 inputs; expected at most 0.0001; accept it by `tolerance=…`; "
        "`tolerance=any` accepts everything"
    ) in said
    for tolerance in ("0.1", "any"):
        said = built.built(
            "merge", "recipe=x", "with=head.onnx=other.onnx", f"tolerance={tolerance}"
        )
        assert "boxes: differs from end2end.onnx's by up to 0.01 of its largest value" in said
        (built.folder / "build/x/merged.onnx").unlink()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "doit merge: with= is missing; expected with=SEGMENT.onnx=FILE.onnx"),
        (["with=head.onnx"], "with=head.onnx: names no file; expected SEGMENT.onnx=FILE.onnx"),
        (
            ["with=haed.onnx=detector.onnx"],
            "with=haed.onnx=detector.onnx: the recipe has no segment 'haed.onnx'; expected one of "
            "'body.onnx', 'head.onnx'; did you mean 'head.onnx'?",
        ),
        (["with=head.onnx=none.onnx"], "with=head.onnx=none.onnx: "),
        (
            ["with=head.onnx=detector.onnx,head.onnx=detector.onnx"],
            "with=head.onnx=detector.onnx: 'head.onnx' is replaced twice; name one file for it",
        ),
        (
            ["with=head.onnx=head2.onnx", "tolerance=2"],
            "tolerance=2: not a tolerance; expected a number from 0 to 1, or 'any'",
        ),
        (
            ["with=head.onnx=head2.onnx", "out=build/x/body.onnx"],
            "out=build/x/body.onnx: 'body.onnx' is an artifact of the build; choose another name",
        ),
    ],
)
def test_a_wrong_command_line_is_refused(
    built: Project, arguments: list[str], problem: str
) -> None:
    built.save(part(built, "head.onnx"), "head2.onnx")
    assert problem in refused(built, *arguments)


def test_a_file_that_does_not_fit_its_place_is_refused_with_all_that_is_wrong(
    built: Project,
) -> None:
    other = part(built, "head.onnx")
    other.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    other.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 9
    (maker,) = (node for node in other.graph.node if "scores" in node.output)
    maker.output[0] = other.graph.output[0].name = "points"
    built.save(other, "other.onnx")
    said = refused(built, "with=head.onnx=other.onnx")
    names = [value.name for value in other.graph.input]
    at = "with=head.onnx=other.onnx: "
    inputs = ("float64[1, 4, 16, 16]", "float32[1, 4, 16, 16]"), ("float32[1, 9, 8, 8]",)
    assert f"{at}its input '{names[0]}' is {inputs[0][0]}; expected {inputs[0][1]}" in said
    assert f"{at}its input '{names[1]}' is {inputs[1][0]}; expected float32[1, 8, 8, 8]" in said
    assert f"{at}has an output 'points'; expected scores, boxes" in said
    assert f"{at}has no output 'scores'; expected float32[scores_d0, " in said


def test_a_file_that_reads_what_it_does_not_define_is_refused(built: Project) -> None:
    other = part(built, "head.onnx")
    del other.graph.initializer[:]
    built.save(other, "other.onnx")
    said = refused(built, "with=head.onnx=other.onnx")
    assert "with=head.onnx=other.onnx: it is broken: Conv node '/head/Conv' reads 'w3', " in said


def test_another_opset_is_refused_by_name(built: Project) -> None:
    other = part(built, "head.onnx")
    other.opset_import[0].version = 21
    built.save(other, "other.onnx")
    assert (
        "with=head.onnx=other.onnx: has opset 21 of 'ai.onnx'; 'body.onnx' has 20, and a file has "
        "one; convert the file with onnx.version_converter, or set 'export.opset'"
    ) in refused(built, "with=head.onnx=other.onnx")


def test_functions_of_one_name_and_two_contents_are_refused(built: Project) -> None:
    for name, operator in (("body.onnx", "Neg"), ("head.onnx", "Abs")):
        model = part(built, name)
        node = helper.make_node(operator, ["x"], ["y"])
        imports = [helper.make_opsetid("", 20)]
        model.functions.append(helper.make_function("own", "f", ["x"], ["y"], [node], imports))
        model.opset_import.append(helper.make_opsetid("own", 1))
        built.save(model, f"own-{name}")
    pairs = "with=body.onnx=own-body.onnx,head.onnx=own-head.onnx"
    assert (
        "with=head.onnx=own-head.onnx: its function 'own::f' is another than that of 'body.onnx'; "
        "rename one of the two, or inline it with onnx.inliner"
    ) in refused(built, pairs)


def test_segments_with_a_gap_are_refused(project: Project) -> None:
    body, head = TWO.index("    - {save_file: body.onnx"), TWO.index("    - {save_file: head")
    text = TWO[:body] + TWO[head:]
    project.recipe(text)
    project.built("build", "recipe=x")
    project.save(part(project, "head.onnx"), "other.onnx")
    assert (
        "head.onnx: no segment gives its input 'conv_1'; expected segments that cover the model; "
        "add the missing part to 'segments'"
    ) in refused(project, "with=head.onnx=other.onnx")
