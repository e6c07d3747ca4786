"""The inputs and outputs of an exported torch model: names, order, dtypes and free dims."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import DynamicAxis, Recipe
from partition_core.sources.traced import load_subject
from tests.export.support import export, run, sample, saved
from tests.export.support import torch_recipe as recipe


def refused(given: Recipe) -> str:
    with pytest.raises(ExportError) as error:
        export(given)
    return str(error.value)


def dims(values: list[ir.Value]) -> dict[str, list[int | str | None]]:
    return {
        str(value.name): [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
        for value in values
    }


TWO = {"zoom": (2, 4), "index": ((3,), "int64")}


def test_inputs_stand_in_the_order_of_forward_and_keep_their_dtypes(tmp_path: Path) -> None:
    # The recipe holds its inputs sorted: index, zoom.
    given = recipe("Inputs", TWO, output_names=("picked", "next"))
    assert [spec.name for spec in given.export.inputs] == ["index", "zoom"]
    exported = export(given)
    inputs = exported.model.graph.inputs
    assert [(value.name, value.dtype) for value in inputs] == [
        ("zoom", ir.DataType.FLOAT),
        ("index", ir.DataType.INT64),
    ]
    zoom = np.arange(8, dtype=np.float32).reshape(2, 4)
    index = np.array([3, 0, 1])
    found = run(saved(exported.model, tmp_path), {"zoom": zoom, "index": index})
    np.testing.assert_array_equal(found["picked"], zoom[:, index])
    np.testing.assert_array_equal(found["next"], index + 1)


def test_samples_of_integer_inputs_index_the_whole_table_and_differ() -> None:
    exported = export(recipe("Inputs", {**TWO, "index": ((40,), "int64")}, output_names=("a", "b")))
    first, second = (sample(exported, number).inputs["index"] for number in (0, 1))
    assert set(first) == set(second) == {0, 1, 2, 3}
    assert (first != second).any()
    assert exported.notes["index_ranges"] == {"index": [0, 3]}


def test_an_output_with_the_name_of_an_input_gets_another() -> None:
    exported = export(recipe("Inputs", TWO))
    assert [value.name for value in exported.model.graph.outputs] == ["picked", "output.index"]
    assert refused(recipe("Inputs", TWO, output_names=("picked", "index"))) == (
        "export.output_names: two inputs or outputs of the model are called 'index'; "
        "the inputs are index, zoom, the outputs picked, index; "
        "give the outputs other names in 'export.output_names'"
    )


def test_inputs_that_forward_does_not_have_are_refused() -> None:
    assert refused(recipe("Inputs", {"zoom": (2, 4), "indexes": ((3,), "int64")})) == (
        "export.inputs.indexes: the model's forward has no parameter 'indexes'; it takes zoom, "
        "index; did you mean 'index'?"
    )


def test_outputs_are_named_by_their_path_or_by_the_recipe(tmp_path: Path) -> None:
    by_path = export(recipe("Nested", {"x": (2, 4)}))
    names = ["output.0", "output.1.0", "output.1.1"]
    assert [value.name for value in by_path.model.graph.outputs] == names
    assert list(sample(by_path).outputs) == names
    exported = export(recipe("Nested", {"x": (2, 4)}, output_names=("a", "b", "c")))
    found = run(saved(exported.model, tmp_path), sample(exported).inputs)
    np.testing.assert_array_equal(found["c"], sample(exported).inputs["x"] * 3)


def test_too_few_output_names_tell_what_the_model_returns() -> None:
    assert refused(recipe("Nested", {"x": (2, 4)}, output_names=("a", "b"))) == (
        "export.output_names: names 2 outputs, and the model returns 3; "
        "the model returns output.0, output.1.0, output.1.1"
    )


def test_a_model_that_returns_no_tensor_is_refused() -> None:
    assert refused(recipe("Nothing", {"x": (2, 4)})) == (
        "model: the model returns no tensor, but a NoneType; "
        "expected a tensor, or a list, tuple or dict of tensors"
    )


def test_free_dims_carry_the_names_of_the_recipe_and_take_other_sizes(tmp_path: Path) -> None:
    axes = (DynamicAxis("image", 0, "batch"), DynamicAxis("image", 2, "height"))
    exported = export(recipe("Net", {"image": (2, 3, 16, 16)}, dynamic_axes=axes))
    graph = exported.model.graph
    assert dims(list(graph.inputs)) == {"image": ["batch", 3, "height", 16]}
    (found,) = dims(list(graph.outputs)).values()
    assert found == ["batch", 6, "num_output"]
    path = saved(exported.model, tmp_path)
    image = np.random.default_rng(0).standard_normal((5, 3, 24, 16)).astype(np.float32)
    twin = load_subject(recipe("Net", {"image": (5, 3, 24, 16)}), tmp_path, None)
    with torch.no_grad():
        expected = twin.module(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(run(path, {"image": image})["output"], expected, atol=1e-6)


def test_sizes_that_the_input_decides_are_named_after_the_output() -> None:
    both = recipe("Rows", {"x": (6, 4)}, args=(("ask", '"both"'),))
    assert dims(list(export(both).model.graph.outputs)) == {
        "output.0": ["num_output_0", 4],
        "output.1": ["num_output_1", 4],
        "output.2": ["num_output_0", "num_output_1"],
    }


CANNOT = "a dim can be dynamic if no code of the model depends on its value"


def test_a_dim_that_the_code_fixes_cannot_be_free() -> None:
    axes = (DynamicAxis("image", 2, "height"),)
    assert refused(recipe("Fixed", {"image": (1, 3, 16, 16)}, dynamic_axes=axes)) == (
        "export.dynamic_axes.image: dim 2 of 'image' cannot be dynamic: the model fixes it at 16; "
        f"{CANNOT}; leave 'height' out, or change the model"
    )


def test_a_free_dim_of_size_one_is_traced_as_two(tmp_path: Path) -> None:
    axes = (DynamicAxis("image", 0, "batch"),)
    exported = export(recipe("Net", {"image": (1, 3, 16, 16)}, dynamic_axes=axes))
    batches = [sample.inputs["image"].shape[0] for sample in exported.recording.samples]
    assert batches == [1, 1, 2, 1, 5]
    images = np.ones((3, 3, 16, 16), np.float32)
    found = run(saved(exported.model, tmp_path), {"image": images})
    assert found["output"].shape[0] == 3


def test_dims_that_the_model_makes_equal_need_one_symbol(tmp_path: Path) -> None:
    inputs = {"left": (4, 3), "right": (4, 3)}
    apart = (DynamicAxis("left", 0, "n"), DynamicAxis("right", 0, "m"))
    assert refused(recipe("Added", inputs, dynamic_axes=apart)) == (
        "export.dynamic_axes.right: dim 0 of 'right' is always equal to 'n' in this model; "
        "expected one symbol for each size; write 'n' instead of 'm'"
    )
    together = (DynamicAxis("left", 0, "n"), DynamicAxis("right", 0, "n"))
    exported = export(recipe("Added", inputs, dynamic_axes=together))
    assert dims(list(exported.model.graph.inputs)) == {"left": ["n", 3], "right": ["n", 3]}
    assert dims(list(exported.model.graph.outputs)) == {"output": ["n", 3]}
    rows = np.ones((7, 3), dtype=np.float32)
    found = run(saved(exported.model, tmp_path), {"left": rows, "right": rows})
    np.testing.assert_array_equal(found["output"], 2 * rows)


def test_a_model_that_fails_in_pytorch_is_told_before_it_is_traced() -> None:
    failing = recipe("Calls", {"x": (2, 4)}, args=(("what", '"failing"'),))
    assert refused(failing) == (
        "model: the model does not run in PyTorch; RuntimeError: on purpose"
    )


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nowhere_at_all:f", "importing 'nowhere_at_all' fails; ModuleNotFoundError: No module"),
        ("tests.export.models:Nett", "has no function 'Nett'"),
        ("tests.export.models:NOT_A_FUNCTION", "has no function 'NOT_A_FUNCTION'"),
        ("tests.export.models:two", "calling it fails; TypeError"),
        ("builtins:dict", "'builtins:dict' returned a dict; expected a torch.nn.Module"),
    ],
)
def test_a_factory_that_gives_no_module_is_told(factory: str, message: str) -> None:
    said = refused(recipe(factory, {"x": (2, 4)}))
    assert said.startswith("model.factory: ")
    assert message in said
