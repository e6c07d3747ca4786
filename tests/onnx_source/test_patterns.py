"""Patterns name tensors and nodes of an ONNX file wherever a recipe names them."""

from __future__ import annotations

import onnx
import pytest

from .files import detector
from .projects import TWO, Project

ONE_LINE = "model: {source: onnx, path: detector.onnx}\npartition: {save_file: a.onnx, %s}\n"


def names(project: Project, text: str) -> tuple[list[str], list[str]]:
    """Return the inputs and outputs of the segment a.onnx of a recipe in one line."""
    project.recipe(ONE_LINE % text)
    graph = project.make()["a.onnx"].graph
    return [value.name for value in graph.input], [value.name for value in graph.output]


@pytest.mark.parametrize(
    ("end", "outputs"),
    [
        ("{node: '/neck/*'}", ["/neck/out"]),  # not conv_2, which only /neck/Relu reads
        ("{node: '/neck/**'}", ["/neck/out"]),
        ("{node: '/*/Conv'}", ["conv_1", "conv_2", "head"]),
        ("{node: '/s*lit'}", ["left", "right"]),
        ("{node: '/sp*', output: 1}", ["right"]),
        ("'conv_?'", ["conv_1", "conv_2"]),
        ("{tensor: '*k/*t', as: other}", ["other"]),
        ("{node: '/[bs]*s', output: 0}", ["scores", "boxes"]),
    ],
)
def test_a_pattern_means_all_that_fits_and_leaves_it(
    project: Project, end: str, outputs: list[str]
) -> None:
    assert names(project, f"from: [image], to: [{end}]") == (["image"], outputs)


def test_a_pattern_is_a_start_too(project: Project) -> None:
    text = "from: [{node: '/stem/C*'}, {node: '/n*'}], to: [boxes]"
    assert names(project, text) == (["conv_1", "/neck/out"], ["boxes"])


def test_marks_with_a_pattern_are_those_with_its_tensors(project: Project) -> None:
    project.recipe(TWO)
    before = project.make()
    pattern = "{node: '/neck/*', as: features}"
    project.recipe(TWO.replace("{node: /neck/Relu, as: features}", pattern))
    after = project.make()
    assert pattern in (project.folder / "recipes/x.yaml").read_text()
    for name in ("body.onnx", "head.onnx"):
        assert before[name].SerializeToString() == after[name].SerializeToString()


def test_a_name_with_a_star_that_exists_is_no_pattern(project: Project) -> None:
    model = detector()
    for node in model.graph.node:
        node.output[:] = ["conv_*" if name == "conv_2" else name for name in node.output]
        node.input[:] = ["conv_*" if name == "conv_2" else name for name in node.input]
    onnx.checker.check_model(model)
    project.save(model)
    assert names(project, "from: [image], to: ['conv_*']")[1] == ["conv_*"]


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        (
            "{node: '/nek/*'}",
            "no node fits the pattern '/nek/*'; near it are '/neck/Conv', '/neck/Relu'",
        ),
        (
            "'conf*'",
            "no tensor fits the pattern 'conf*'; near it are 'conv_1', 'conv_2'",
        ),
        (
            "{node: '/*/Conv', as: maps}",
            "'as' names one tensor, and 3 fit '/*/Conv'; they are 'conv_1', 'conv_2', 'head'; "
            "leave out 'as', or name one of them",
        ),
        (
            "{node: '/neck/*'}, {node: '/neck/Relu'}",
            "it is the tensor '/neck/out', which partition.to[0] names already; list it once",
        ),
    ],
)
def test_a_pattern_without_a_meaning_is_refused(project: Project, end: str, problem: str) -> None:
    project.recipe(ONE_LINE % f"from: [image], to: [{end}]")
    with pytest.raises(Exception) as error:  # noqa: PT011  # reason: the message is compared
        project.check()
    at = "partition.to[1]" if "list it once" in problem else "partition.to[0]"
    assert f"{at}: {problem}" in str(error.value)
