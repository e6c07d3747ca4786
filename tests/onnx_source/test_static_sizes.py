"""One segment of a model of free sizes gets sizes of its own, and is proven at them."""

from __future__ import annotations

import onnx
import pytest

from .files import detector
from .projects import TWO, Project

FREE = TWO + "export: {inputs: {image: {shape: [2, 3, 16, 12]}}}\n"


def static(text: str) -> str:
    """Return the recipe with `inputs` of the segment body.onnx."""
    return FREE.replace("end: ['neck:input']", f"end: ['neck:input'], inputs: {text}")


@pytest.fixture(autouse=True)
def free(project: Project) -> None:
    """Put a file of free batch, height and width into the project."""
    project.save(detector(("n", 3, "h", "w")))


def dims(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_a_segment_has_the_sizes_of_the_recipe_and_the_others_stay_free(project: Project) -> None:
    project.recipe(static("{image: {shape: [2, 3, 16, 12]}}"))
    said = project.built("build", "recipe=x")
    assert "proven on 4 inputs, at batch 1, 2 and 5" in said
    assert "; body.onnx, whose sizes are fixed, on 2 of them" in said
    body = onnx.load(project.folder / "build/x/body.onnx").graph
    assert dims(body.input[0]) == [2, 3, 16, 12]
    inferred = {value.name: dims(value) for value in (*body.output, *body.value_info)}
    assert inferred["conv_1"] == [2, 4, 16, 12]
    assert all(isinstance(dim, int) for value in inferred.values() for dim in value)
    head = onnx.load(project.folder / "build/x/head.onnx").graph
    assert all(isinstance(dim, str) for value in head.input for dim in dims(value)[2:])
    whole = onnx.load(project.folder / "build/x/end2end.onnx").graph
    assert dims(whole.input[0]) == ["n", 3, "h", "w"]


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        (
            "{imag: {shape: [1, 3, 16, 16]}}",
            "inputs.imag.shape: the segment has no input 'imag'; expected one of 'image'; "
            "did you mean 'image'?",
        ),
        (
            "{image: {shape: [1, 4, 16, 16]}}",
            "inputs.image.shape: input 'image' has the dims [n, 3, h, w] in the segment; "
            "not [1, 4, 16, 16]",
        ),
        (
            "{image: {shape: [1, 3, 16]}}",
            "inputs.image.shape: input 'image' has the dims [n, 3, h, w] in the segment; "
            "not [1, 3, 16]",
        ),
    ],
)
def test_a_shape_that_does_not_fit_the_segment_is_refused(
    project: Project, inputs: str, problem: str
) -> None:
    project.recipe(static(inputs))
    assert f"partition.segments[0].{problem}" in project.refused()


SIZES = {"small": [1, 3, 16, 12], "large": [2, 3, 32, 24]}


def varied(sizes: dict[str, list[int]]) -> str:
    """Return the recipe with a variant for each of some shapes of the image."""
    lines = [f"  {name}: {{inputs: {{image: {{shape: {size}}}}}}}" for name, size in sizes.items()]
    return "\n".join((TWO.rstrip(), "variants:", *lines, ""))


def test_a_variant_fixes_the_sizes_of_the_whole_model(project: Project) -> None:
    project.recipe(varied(SIZES))
    said = project.built("build", "recipe=x")
    for variant, shape in SIZES.items():
        assert f"x@{variant}: proven on 2 inputs: the segments in a chain" in said
        for name in ("end2end", "body", "head"):
            graph = onnx.load(project.folder / f"build/x/{variant}.{name}.onnx").graph
            values = [dims(value) for value in (*graph.input, *graph.output, *graph.value_info)]
            assert shape in values or name == "head"
            assert all(isinstance(dim, int) for value in values for dim in value)


def test_sizes_of_a_variant_that_the_file_cannot_have_are_refused(project: Project) -> None:
    project.recipe(varied({**SIZES, "gray": [1, 1, 16, 12]}))
    run = project.doit("build", "recipe=x")
    assert (
        "recipes/x.yaml:13: variants.gray.inputs.image: input 'image' has the dims [n, 3, h, w] in "
        "the file"
    ) in run.stdout
    assert not (project.folder / "build" / "x").exists()


def test_sizes_that_no_sample_has_are_refused(project: Project) -> None:
    project.recipe(static("{image: {shape: [2, 3, 20, 12]}}"))
    assert project.refused() == (
        "segment 'body.onnx': no sample has the sizes [[2, 3, 20, 12]] of image; in the samples "
        "they are [[2, 3, 16, 12]] or [[1, 3, 16, 12]] or [[5, 3, 16, 12]]; write shapes under "
        "'export.inputs' that give these sizes"
    )


def test_equal_dims_get_one_size(project: Project) -> None:
    project.save(detector(("n", 3, "h", "h")))
    free = static("{image: {shape: [2, 3, 16, 12]}}")
    square = "image: {shape: [2, 3, 16, 16]"
    project.recipe(free.replace("image: {shape: [2, 3, 16, 12]}}\n", f"{square}}}}}\n"))
    assert (
        "partition.segments[0].inputs.image.shape: 'h' is 12 here and 16 in another dim; "
        "equal dims have one size"
    ) in project.refused()
