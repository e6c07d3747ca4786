"""`doit tensors` lists the tensors that a file can be cut at."""

from __future__ import annotations

import json

import pytest

from .projects import Project, with_two_recipes


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return with_two_recipes(tmp_path_factory.mktemp("tensors"))


def test_a_table_has_a_line_for_each_tensor_that_fits(project: Project) -> None:
    said = project.built("tensors", "recipe=two", "match=*conv*")
    assert said.splitlines()[-3:] == [
        "tensor  operator  module  dtype    dims        bytes  read by",
        "conv_1  Conv              float32  1x4x16x16  4.1 kB  Relu",
        "conv_2  Conv              float32  1x8x8x8    2.0 kB  Relu",
    ]


def test_all_tensors_that_json_lists_can_be_cut_at(project: Project) -> None:
    said = project.built("tensors", "recipe=one", "out=list/tensors.json")
    assert "list/tensors.json: written, 10 tensors" in said
    tensors = json.loads((project.folder / "list" / "tensors.json").read_text())
    by_name = {tensor["tensor"]: tensor for tensor in tensors}
    assert by_name["relu_1"] == {
        "tensor": "relu_1",
        "node": "/stem/Relu",
        "operator": "Relu",
        "module": "",
        "dtype": "float32",
        "dims": [1, 4, 16, 16],
        "bytes": 4096,
        "readers": ["Conv", "GlobalAveragePool"],
    }
    # The outputs have the names of the file, though marks in end2end take them.
    assert by_name["scores"]["readers"] == []
    for tensor in tensors[:-2]:
        inner = f"from: [image], to: [{tensor['tensor']}]"
        project.recipe(
            "model: {source: onnx, path: detector.onnx}\n"
            f"partition: {{save_file: a.onnx, {inner}}}\n",
            "cut",
        )
        project.make("cut")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["tensors", "recipe=one", "match=conv_3"],
            "recipes/one.yaml: match=conv_3: no tensor that the model can be cut at has such a "
            "name, node or module; expected a pattern such as '*conv*'; did you mean 'conv_2'?",
        ),
        (
            ["tensors", "out=a.json"],
            "doit tensors: takes one recipe at a time, but 2 are selected; expected recipe=…, "
            "expected one of 'one', 'two'",
        ),
    ],
)
def test_mistakes_are_one_line(project: Project, arguments: list[str], message: str) -> None:
    (project.folder / "recipes" / "cut.yaml").unlink(missing_ok=True)
    run = project.doit(*arguments)
    assert run.returncode
    assert message in run.stdout
    assert "Traceback" not in run.stdout
