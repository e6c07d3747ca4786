"""Models that read tables are proven on the rows of the tables, not on the first two alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from partition_core.proof.summary import summary
from partition_core.recipe.values import DynamicAxis, Recipe, Seed, TensorSpec
from partition_core.trace.exporter import TracedExport as Exported
from tests.export.support import export, mark, sample, saved, torch_recipe
from tests.proving.support import Subject, segment

pytestmark = pytest.mark.usefixtures("one_registry")

MODELS = "tests.proving.torch_models"
WORDS = 500


def with_specs(recipe: Recipe, *specs: TensorSpec) -> Recipe:
    """Return the recipe with these inputs; the order is that of a recipe's."""
    inputs = tuple(sorted(specs, key=lambda one: one.name))
    return replace(recipe, export=replace(recipe.export, inputs=inputs))


def text_recipe(*dynamic_axes: DynamicAxis) -> Recipe:
    shape = ((2, 16), "int64")
    names = ("ids", "positions", "segments", "present")
    return torch_recipe(
        f"{MODELS}:TextEncoder",
        dict.fromkeys(names, shape),
        mark("whole", f"{MODELS}.TextEncoder.forward", inputs=names),
        mark("pool", f"{MODELS}.mean_of_words", inputs=("states", "present")),
        weights=Seed(0),
        dynamic_axes=dynamic_axes,
    )


def only_zero_and_one(recipe: Recipe) -> Recipe:
    specs = (TensorSpec(one.name, one.shape, one.dtype, (0, 1)) for one in recipe.export.inputs)
    return with_specs(recipe, *specs)


@pytest.fixture(scope="module")
def text() -> Exported:
    return export(text_recipe())


def subject_of(exported: Exported, folder: Path, wrong: slice | None = None) -> Subject:
    """Return what is proven; of the table of words the rows `wrong` have another sign."""
    part = segment("words.onnx", "whole:input", "pool:input")
    folder.mkdir(exist_ok=True)
    file = saved(exported.model, folder)
    if wrong is not None:
        file = with_wrong_rows(file, folder / "wrong.onnx", wrong)
    return Subject(file, exported.recording, (part,), False)


def with_wrong_rows(file: Path, target: Path, rows: slice) -> Path:
    """Write the model with other numbers in `rows` of the table of words."""
    model = onnx.load(file)
    (table,) = [one for one in model.graph.initializer if list(one.dims) == [WORDS, 8]]
    array = numpy_helper.to_array(table).copy()
    array[rows] *= -1
    table.CopyFrom(numpy_helper.from_array(array, table.name))
    onnx.save(model, target)
    return target


@pytest.mark.parametrize("rows", [slice(2, None), slice(WORDS - 1, None), slice(2, 100)])
def test_a_table_that_is_wrong_beyond_its_first_rows_is_found(
    text: Exported, tmp_path: Path, rows: slice
) -> None:
    subject_of(text, tmp_path / "right").prove()
    refused = subject_of(text, tmp_path / "wrong", rows).refused()
    for number in (0, 1):
        assert f"mark 'pool:input.states', sample {number}: end2end differs" in refused


def test_zeros_and_ones_would_not_find_it(tmp_path: Path) -> None:
    exported = export(only_zero_and_one(text_recipe()))
    subject_of(exported, tmp_path, slice(2, None)).prove()


def test_words_places_and_segments_come_from_their_tables(text: Exported) -> None:
    assert text.notes["index_ranges"] == {
        "ids": [0, 499],
        "positions": [0, 31],
        "segments": [0, 2],
    }
    assert text.notes["drawn_from_0_and_1"] == ["present"]
    for number in (0, 1):
        drawn = sample(text, number).inputs
        assert {0, 499} < set(drawn["ids"].flat)
        assert set(drawn["positions"].flat) == set(range(32))
        assert set(drawn["segments"].flat) == {0, 1, 2}
        assert set(drawn["present"].flat) == {0, 1}
    read = {one for number in (0, 1) for one in sample(text, number).inputs["ids"].flat}
    assert len(read) > 50
    assert (sample(text, 0).inputs["ids"] != sample(text, 1).inputs["ids"]).any()


def test_other_sizes_have_samples_of_their_own_from_the_same_tables(tmp_path: Path) -> None:
    names = ("ids", "positions", "segments", "present")
    exported = export(text_recipe(*(DynamicAxis(name, 1, "length") for name in names)))
    lengths = [sample(exported, k).inputs["ids"].shape[1] for k in range(4)]
    assert lengths[:2] == [16, 16] and 16 not in lengths[2:]
    ids = [sample(exported, number).inputs["ids"] for number in range(4)]
    assert all({0, 499} < set(one.flat) for one in ids)
    assert len({one.tobytes() for one in ids}) == 4


def test_places_in_an_input_of_free_length_fit_every_length() -> None:
    recipe = torch_recipe(
        "Picked",
        {"states": (2, 8, 3), "places": ((2, 5), "int64")},
        dynamic_axes=(DynamicAxis("states", 1, "length"),),
    )
    exported = export(recipe)
    assert exported.notes["index_ranges"] == {"places": [0, 7]}
    for number in range(4):
        inputs = sample(exported, number).inputs
        assert inputs["places"].max() == inputs["states"].shape[1] - 1


def test_what_files_give_is_proven_and_fits_other_sizes(tmp_path: Path) -> None:
    names = ("ids", "positions", "segments", "present")
    recipe = text_recipe(*(DynamicAxis(name, 1, "length") for name in names))
    ids = np.arange(64).reshape(2, 2, 16) + 300
    present = np.zeros((2, 16), np.int64)
    present[:, :3] = 1
    np.savez(tmp_path / "a.npz", ids=ids[0], present=present)
    np.savez(tmp_path / "b.npz", ids=ids[1])
    files = ("a.npz", str(tmp_path / "b.npz"))
    exported = export(replace(recipe, proof=replace(recipe.proof, inputs=files)), tmp_path)
    for number in (0, 1):
        np.testing.assert_array_equal(sample(exported, number).inputs["ids"], ids[number])
        assert set(sample(exported, number).inputs["positions"].flat) == set(range(32))
    np.testing.assert_array_equal(sample(exported, 0).inputs["present"], present)
    assert set(sample(exported, 1).inputs["present"].flat) == {0, 1}
    assert exported.notes["index_ranges"] == {"positions": [0, 31], "segments": [0, 2]}
    assert exported.notes["drawn_from_0_and_1"] == ["present"]
    # At other lengths what was given is cut or repeated, and every word was given.
    for number in (2, 3):
        other = sample(exported, number).inputs["ids"]
        assert other.shape[1] != 16
        np.testing.assert_array_equal(other[0, :12], ids[number - 2][0, :12])
        assert set(other.flat) <= set(ids[number - 2].flat)


def loudness(*specs: TensorSpec) -> Recipe:
    recipe = torch_recipe(
        f"{MODELS}:Loudness",
        {"wave": (1, 4)},
        mark("whole", f"{MODELS}.Loudness.forward", inputs=("wave", "rate", "gain")),
    )
    return with_specs(recipe, *specs)


def test_a_rate_has_its_value_and_a_gain_its_range(tmp_path: Path) -> None:
    exported = export(
        loudness(
            TensorSpec("wave", (1, 400), "float32", (-0.5, 0.5)),
            TensorSpec("rate", (), "int64", value=16000),
            TensorSpec("gain", (), "float32", (1.5, 8.0)),
        )
    )
    gains = set()
    for number in (0, 1):
        inputs = sample(exported, number).inputs
        assert inputs["rate"].shape == () and inputs["rate"] == 16000
        assert (inputs["wave"].min(), inputs["wave"].max()) == (-0.5, 0.5)
        assert 1.5 < inputs["gain"] < 8
        gains.add(float(inputs["gain"]))
        # A logarithm of a normal number would be nan: with a range it is not.
        assert np.isfinite(sample(exported, number).outputs["output"]).all()
    assert len(gains) == 2
    assert not exported.notes.keys() & {"index_ranges", "drawn_from_0_and_1"}
    whole = segment("whole.onnx", "whole:input", "whole:output")
    subject = Subject(saved(exported.model, tmp_path), exported.recording, (whole,), False)
    assert len(subject.prove()["samples"]) == 2


def test_the_line_of_the_proof_says_what_was_drawn_from_0_and_1_and_what_to_write() -> None:
    figures = {"samples": [], "given_by_end2end": [], "tensors": 1}
    assert "drawn" not in summary(figures)
    assert summary(figures, 0, ["present"]).endswith(
        "; 'present' drawn only from 0 and 1, as no range is known: write 'range' in "
        "export.inputs.present"
    )
    assert "'a' and 'b' drawn only from 0 and 1" in summary(figures, 0, ["a", "b"])
