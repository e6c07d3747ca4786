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


MODEL = "model: {source: onnx, path: detector.onnx}\n"
WRONG = {
    "nothing else": ("", "x.yaml:1: the key 'partition' is missing; expected the partition"),
    "an unknown policy": (
        "partition: {type: raw_haeds}\n",
        "x.yaml:2: partition.type: 'raw_haeds' is not a shared policy",
    ),
    "a policy that does not fit": (
        "partition: {type: backbone_head}\n",
        "x.yaml:2: partition.type: the heads of the model are no towers of convolutions",
    ),
    "an unknown tensor": (
        "partition: {save_file: a.onnx, from: [conv_3], to: [scores]}\n",
        "x.yaml:2: partition.from[0]: the model has no tensor 'conv_3'",
    ),
    "the proof too": (
        "partition: {type: raw_haeds}\nproof: {tolerance: high}\n",
        "x.yaml:3: proof.tolerance: is 'high'; expected a number",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_recipe_that_is_wrong_in_where_it_cuts_has_tensors(project: Project, what: str) -> None:
    rest, told = WRONG[what]
    project.recipe(MODEL + rest, "x")
    run = project.doit("tensors", "recipe=x", "match=*conv*")
    assert run.returncode == 0
    assert f"WARNING: recipes/{told}" in run.stdout
    assert "WARNING: recipes/x.yaml: what follows is of the model without its partition" in (
        run.stdout
    )
    for line in (
        "conv_1  Conv              float32  1x4x16x16  4.1 kB  Relu",
        "conv_2  Conv              float32  1x8x8x8    2.0 kB  Relu",
    ):
        assert line in run.stdout.splitlines()
    assert project.doit("build", "recipe=x").returncode
    assert not (project.folder / "build" / "x").exists()
    (project.folder / "recipes" / "x.yaml").unlink()


def test_a_model_that_is_wrong_has_none(project: Project) -> None:
    project.recipe(MODEL.replace("path", "pth") + "partition: {type: raw_haeds}\n", "x")
    run = project.doit("tensors", "recipe=x")
    assert run.returncode
    assert "WARNING" not in run.stdout
    assert "recipes/x.yaml:1: model.pth: unknown key 'pth'" in run.stdout
    assert "recipes/x.yaml:2: partition.type: 'raw_haeds'" in run.stdout
    (project.folder / "recipes" / "x.yaml").unlink()


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
