"""A model that is not what its recipe asks for is told from one that is, whatever its source."""

from __future__ import annotations

import dataclasses
from typing import Any

import onnx
import pytest

from partition_core.graph.conformance import differences
from partition_core.graph.file.graph_reader import read_model
from partition_core.recipe.values import (
    DynamicAxis,
    ExportOptions,
    FileInput,
    OnnxModel,
    OwnWeights,
    Partition,
    Proof,
    Recipe,
    TensorSpec,
    TorchModel,
)

MODEL = """
<ir_version: 10, opset_import: ["": 20]>
net (float[1,3,height,8] image, int64[2] size, float[3] w) => (float[1,3,height,8] out)
<float[3] w = {1, 2, 3}> { out = Relu(image) }
"""
AXES = (DynamicAxis("image", 2, "height"),)
IMAGE = TensorSpec("image", (1, 3, 16, 8), "float32")
SIZE = TensorSpec("size", (2,), "int64")
ASKED = ExportOptions((IMAGE, SIZE), ("out",), AXES, 20)


def told(text: str, export: ExportOptions, model: Any = None) -> list[str]:
    source = model or TorchModel("zoo:net", (), OwnWeights())
    recipe = Recipe("x", source, export, (), Partition("none", ()), Proof(1e-4, ()))
    proto = onnx.parser.parse_model(text)
    found = differences(read_model(proto.SerializeToString()), recipe)
    return [str(one) for one in found]


def test_a_model_that_is_as_asked_is_no_problem() -> None:
    assert told(MODEL, ASKED) == []
    assert told(MODEL, dataclasses.replace(ASKED, output_names=())) == []


AT = "export."
KINDS: dict[str, tuple[tuple[str, str], list[str]]] = {
    "another size": (
        ("float[1,3,height,8] image", "float[1,1,height,8] image"),
        [
            f"{AT}inputs.image.shape: the exported model takes float32[1, 1, height, 8]; "
            "expected float32[1, 3, height, 8]"
        ],
    ),
    "a fixed size": (
        ("float[1,3,height,8] image", "float[1,3,16,8] image"),
        [
            f"{AT}inputs.image.shape: the exported model takes float32[1, 3, 16, 8]; "
            "expected float32[1, 3, height, 8]"
        ],
    ),
    "a free size": (
        ("int64[2]", "int64[n]"),
        [f"{AT}inputs.size.shape: the exported model takes int64[n]; expected int64[2]"],
    ),
    "another rank": (
        ("int64[2]", "int64"),
        [f"{AT}inputs.size.shape: the exported model takes int64[]; expected int64[2]"],
    ),
    "another dtype": (
        ("int64[2]", "int32[2]"),
        [f"{AT}inputs.size.dtype: the exported model takes int32[2]; expected int64[2]"],
    ),
    "another name": (
        ("int64[2] size", "int64[2] sizes"),
        [
            f"{AT}inputs.size: the exported model has no such input; "
            "expected one of 'image', 'sizes'; did you mean 'sizes'?",
            f"{AT}inputs: the exported model has an input 'sizes' as well; "
            "expected one of 'image', 'size'",
        ],
    ),
    "another opset": (
        ('"": 20', '"": 18'),
        [f"{AT}opset: the exported model has opset 18; expected 20"],
    ),
    "another output": (
        ("(float[1,3,height,8] out)", "(float[1,3,height,8] out, int64[2] size)"),
        [f"{AT}output_names: the exported model gives out, size; expected out"],
    ),
}


@pytest.mark.parametrize(("edit", "expected"), KINDS.values(), ids=KINDS)
def test_every_difference_is_told_at_the_key_that_asks_otherwise(
    edit: tuple[str, str], expected: list[str]
) -> None:
    assert edit[0] in MODEL
    assert told(MODEL.replace(*edit), ASKED) == expected


def test_all_differences_are_told_at_once() -> None:
    both = MODEL.replace("float[1,3,height,8] image", "double[1,3,height,8] image")
    assert len(told(both.replace('"": 20', '"": 19'), ASKED)) == 2


def test_a_file_has_its_own_names_dtypes_and_opset_and_no_other_sizes() -> None:
    export = ExportOptions((), (), (), 0)

    def file(name: str, *shape: int) -> OnnxModel:
        return OnnxModel("a.onnx", "", (), (FileInput(name, shape),))

    assert told(MODEL, export, file("image", 1, 3, 16, 8)) == []
    assert told(MODEL, export, file("image", 1, 1, 16, 8)) == [
        f"{AT}inputs.image: input 'image' has the dims [1, 3, height, 8] in the marked model; "
        "expected [1, 1, 16, 8]"
    ]
    assert told(MODEL, export, file("photo", 1)) == [
        f"{AT}inputs.photo: the marked model has no such input; expected one of 'image', 'size'"
    ]
