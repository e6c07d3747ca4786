"""`export.precision: float16`: which tensors are float16, and that the model is still right."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from partition_core.base.errors import ExportError
from partition_core.base.recording import load_recording, save_recording
from partition_core.recipe.values import Mark, Recipe
from partition_core.trace.probes import probes
from tests.export.support import export, mark, run, sample, saved, torch_recipe
from tests.proving.support import Subject, segment

MODELS = "tests.export.half_models"
HALF, FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT
IMAGE = {"image": (1, 3, 16, 16)}


def half(factory: str, inputs: dict, *marks: Mark, keep: bool = False) -> Recipe:
    given = torch_recipe(f"{MODELS}:{factory}", inputs, *marks)
    wanted = dataclasses.replace(given.export, precision="float16", keep_io_types=keep)
    return dataclasses.replace(given, export=wanted)


def dtypes(model: ir.Model, *op_types: str) -> set[ir.DataType]:
    """Return the dtypes that nodes of some operators give."""
    nodes = [node for node in model.graph.all_nodes() if node.op_type in op_types]
    assert nodes
    return {node.outputs[0].dtype for node in nodes}


def close(made: np.ndarray, expected: np.ndarray) -> bool:
    apart = np.abs(made.astype(np.float64) - expected.astype(np.float64)).max()
    return bool(apart <= 1e-2 * np.abs(expected.astype(np.float64)).max())


@pytest.mark.parametrize("keep", [False, True])
def test_a_network_is_float16_from_its_inputs_to_its_outputs(tmp_path: Path, keep: bool) -> None:
    on = f"{MODELS}.features"
    exported = export(half("Network", IMAGE, mark("low", on), keep=keep))
    model = exported.model
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    ends = FLOAT if keep else HALF
    assert [value.dtype for value in (*model.graph.inputs, *model.graph.outputs)] == [ends, ends]
    assert {value.dtype for value in model.graph.initializers.values()} <= {
        HALF,
        ir.DataType.INT64,
    }
    weights = [name for name in model.graph.initializers if name.startswith(("stem", "body", "he"))]
    assert {"stem.weight", "stem.bias", "head.weight"} <= set(weights)
    computing = [node for node in model.graph if node.op_type not in ("Cast", "Shape")]
    made = {value.dtype for node in computing for value in node.outputs}
    assert FLOAT not in made
    assert sum(node.op_type == "Cast" for node in model.graph) == (2 if keep else 0)
    (node,) = [
        one
        for one in model.graph
        if one.op_type == "Mark" and "input" in str(one.attributes["type"])
    ]
    assert node.attributes["dtype"].as_int() == HALF
    for number in (0, 1):
        inputs = sample(exported, number).inputs
        assert inputs["image"].dtype == (np.float32 if keep else np.float16)
        (given,) = run(saved(model, tmp_path), inputs).values()
        (expected,) = sample(exported, number).outputs.values()
        assert given.dtype == expected.dtype == inputs["image"].dtype
        assert close(given, expected)
    assert {array.dtype for array in sample(exported).marks.values()} == {np.dtype(np.float16)}


def test_what_decides_is_float32_down_to_the_last_weights(tmp_path: Path) -> None:
    on = f"{MODELS}.chosen_from"
    exported = export(half("Choosing", {"image": (1, 3, 64, 64)}, mark("scores", on)))
    assert dtypes(exported.model, "Conv", "Mark") == {HALF}
    assert dtypes(exported.model, "TopK", "Add") == {FLOAT}
    for number in (0, 1):
        given = run(saved(exported.model, tmp_path), sample(exported, number).inputs)
        expected = sample(exported, number).outputs
        assert (expected["output.1"] > 2048).all()
        assert (expected["output.1"] % 2 == 1).any()
        # The scores that PyTorch gives in float32 tie in float16 now and then.
        image = sample(exported, number).inputs["image"].astype(np.float32)
        weights = {
            name: value.const_value for name, value in exported.model.graph.initializers.items()
        }
        kernel = weights["scores.weight"].numpy().astype(np.float32).reshape(1, 3, 1, 1)
        bias = weights["scores.bias"].numpy().astype(np.float32)
        scores = ((image * kernel).sum(1) + bias).astype(np.float16).astype(np.float32).reshape(-1)
        best = scores[given["output.1"][0] - 3000]
        assert (np.abs(best - np.sort(scores)[::-1][:5]) < 1e-2).all()
        assert close(given["output.0"], expected["output.0"])


def test_constants_that_float16_has_not_stay_float32(tmp_path: Path) -> None:
    exported = export(half("Beyond", {"image": (4, 8)}))
    assert dtypes(exported.model, "Gemm", "MatMul") == {HALF}
    assert dtypes(exported.model, "Div", "Where") == {FLOAT}
    weights = exported.model.graph.initializers
    held = [weights[name].dtype for name in weights if weights[name].dtype in (HALF, FLOAT)]
    assert set(held) == {HALF, FLOAT}
    for number in (0, 1):
        given = run(saved(exported.model, tmp_path), sample(exported, number).inputs)
        for name, expected in sample(exported, number).outputs.items():
            assert np.isfinite(given[name]).all()
            assert close(given[name], expected)


def test_bodies_of_a_branch_stay_float32_and_read_float16_from_outside(tmp_path: Path) -> None:
    exported = export(half("Branching", {"image": (4, 8)}))
    onnx.checker.check_model(ir.to_proto(exported.model), full_check=True)
    (branch,) = [node for node in exported.model.graph if node.op_type == "If"]
    assert branch.outputs[0].dtype == FLOAT
    assert dtypes(exported.model, "Gemm", "MatMul") == {HALF}
    assert len(exported.recording.samples) > 2  # both sides of the branch
    for number in range(len(exported.recording.samples)):
        given = run(saved(exported.model, tmp_path), sample(exported, number).inputs)
        for name, expected in sample(exported, number).outputs.items():
            assert close(given[name], expected)


def test_inputs_that_are_too_large_for_float16_go_and_the_others_keep_their_kinds(
    tmp_path: Path,
) -> None:
    """In the recording, in its file and in the proof, though their numbers are other ones."""
    exported = export(half("Steep", {"image": (4, 8)}, mark("whole", f"{MODELS}.Steep.forward")))
    kinds = [one.kind for one in exported.recording.samples]
    large = {kind for kind, each in probes({"x": np.ones(2)}).items() if each["x"].max() >= 100}
    assert kinds == ["", "", *(kind for kind in probes({}) if kind not in large)]
    assert 2 < len(kinds) < 10
    save_recording(exported.recording, tmp_path / "recording.npz")
    again = load_recording(tmp_path / "recording.npz")
    part = segment("all.onnx", "whole:input", "whole:output")
    proven = Subject(saved(exported.model, tmp_path), again, (part,), False).prove(tolerance=1e-2)
    assert [one.get("kind", "") for one in proven["samples"]] == kinds


@pytest.mark.parametrize("marks", [(), (mark("wide", f"{MODELS}.wide", outputs=()),)])
def test_a_value_that_float16_has_not_is_refused(marks: tuple[Mark, ...]) -> None:
    with pytest.raises(ExportError) as error:
        export(half("Large", {"image": (4, 8)}, *marks))
    lines = str(error.value).splitlines()
    assert len(lines) == 2 * (1 + len(marks))
    for line in lines:
        assert line.startswith("export.precision: ")
        assert "in sample " in line
        assert "float16 values go up to 65504; remove 'precision', or let the" in line
    kept = export(half("Large", {"image": (4, 8)}, keep=True))
    assert sample(kept).outputs["output"].dtype == np.float32


def test_two_exports_have_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    files = [saved(export(half("Beyond", {"image": (4, 8)})).model, folder) for folder in folders]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_places_in_a_map_are_float32_down_to_the_last_weights(tmp_path: Path) -> None:
    exported = export(half("Sampling", {"image": (1, 3, 64, 64)}))
    (node,) = [one for one in exported.model.graph if one.op_type == "GridSample"]
    assert node.inputs[1].dtype == FLOAT
    assert dtypes(exported.model, "Conv") == {HALF}
    # They are multiplied and shifted in float32: rounded again, they would be as coarse as before.
    assert dtypes(exported.model, "Mul", "Add") == {FLOAT}
    given = run(saved(exported.model, tmp_path), sample(exported).inputs)
    for name, expected in sample(exported).outputs.items():
        assert close(given[name], expected)
