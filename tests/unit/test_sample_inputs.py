"""The samples that both sources draw: ranges, values, files, and the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partition_core.base.arrays import Arrays
from partition_core.base.index_ranges import IndexReads, Origin
from partition_core.recipe.input_forms import TensorType
from partition_core.recipe.values import Range, TensorSpec
from partition_core.sources.samples import (
    arrays_from_files,
    draw,
    fitted,
    range_notes,
    ranged,
    samples_of,
    typical_sample,
    undetermined,
    usable_ranges,
)

ROOT = Path(__file__).parents[2]
IDS = TensorSpec("ids", (2, 64), "int64", (0, 499))


def ids_of(spec: TensorSpec, key: int) -> np.ndarray:
    return draw([spec], key)[spec.name]


def test_two_samples_of_a_sequence_read_most_rows_of_a_table_and_its_ends() -> None:
    first, second = (ids_of(IDS, key) for key in (1, 2))
    for one in (first, second):
        assert one.dtype == np.int64 and one.shape == (2, 64)
        assert (one.min(), one.max()) == (0, 499)
        assert len(np.unique(one)) > 100
    assert len({*first.flat, *second.flat}) > 180
    assert (first != second).mean() > 0.9


@pytest.mark.parametrize(
    ("dtype", "span"),
    [
        ("uint8", (0, 255)),
        ("int8", (-128, 127)),
        ("int8", (-60, 60)),
        ("int16", (5, 6)),
        ("int64", (-(2**63), 2**63 - 1)),
        ("uint64", (2**64 - 3, 2**64 - 1)),
        ("float16", (-65504.0, 65504.0)),
        ("float32", (0.25, 0.75)),
        ("float32", (-3.4e38, 3.4e38)),
        ("float64", (-1.7e308, 1.7e308)),
    ],
)
def test_a_range_holds_both_ends_and_nothing_outside(dtype: str, span: Range) -> None:
    drawn = ids_of(TensorSpec("x", (3, 50), dtype, span), 1)
    low, high = np.array(span, dtype)
    assert drawn.dtype == dtype
    assert (drawn.min(), drawn.max()) == (low, high)
    if np.dtype(dtype).kind == "f":
        assert len(np.unique(drawn)) > 100
        assert np.isfinite(drawn).all()
        assert np.mean(drawn < high / 2 + low / 2) == pytest.approx(0.5, abs=0.15)


def test_an_array_with_room_for_it_reads_every_row_of_a_table() -> None:
    for dtype, span in (("int64", (0, 149)), ("int8", (-75, 74)), ("bool", None)):
        drawn = ids_of(TensorSpec("x", (3, 50), dtype, span), 2)
        counts = np.unique(drawn, return_counts=True)[1]
        assert len(counts) == (150 if span else 2)
        assert counts.max() - counts.min() == 0
        assert (np.diff(drawn.ravel().astype(int)) != 1).any()  # in no order


def test_an_array_of_one_integer_is_at_one_end_after_the_other() -> None:
    one = TensorSpec("step", (), "int64", (3, 900))
    assert [int(ids_of(one, key)) for key in (1, 2, 3)] == [900, 3, 900]
    assert [ids_of(TensorSpec("step", (1, 1), "int32"), key).item() for key in (1, 2)] == [1, 0]
    floats = {float(ids_of(TensorSpec("gain", (), "float32", (1, 2)), key)) for key in range(9)}
    assert len(floats) == 9 and min(floats) > 1 and max(floats) < 2


@pytest.mark.parametrize("name", [f"input{number}" for number in range(20)])
@pytest.mark.parametrize(("dtype", "span"), [("bool", None), ("uint8", (254, 255)), ("int8", None)])
def test_two_samples_of_few_integers_differ(name: str, dtype: str, span: Range | None) -> None:
    for shape in ((), (2,), (3,)):
        first, second = (ids_of(TensorSpec(name, shape, dtype, span), key) for key in (1, 2))
        assert (first != second).any()
        assert {*first.flat, *second.flat} == set(np.array(span or (0, 1), dtype))


@pytest.mark.parametrize(
    ("dtype", "value", "shape"),
    [("int64", 16000, ()), ("float16", 0.5, (2, 3)), ("bool", False, (4,)), ("int8", -1, (1,))],
)
def test_a_value_is_every_element_of_every_sample(
    dtype: str, value: float, shape: tuple[int, ...]
) -> None:
    for key in (0, 1, 2):
        drawn = ids_of(TensorSpec("x", shape, dtype, value=value), key)
        assert drawn.shape == shape and drawn.dtype == dtype
        assert (drawn == value).all()


def test_without_range_and_value_integers_are_0_and_1_and_floats_normal() -> None:
    for dtype in ("int32", "uint8", "bool"):
        assert set(ids_of(TensorSpec("x", (9,), dtype), 1).tolist()) == {0, 1}
        assert isinstance(ids_of(TensorSpec("x", (), dtype), 1), np.ndarray)
    for span in (None, (1.0, 2.0)):
        assert isinstance(ids_of(TensorSpec("x", (), "float32", span), 1), np.ndarray)
    normal = ids_of(TensorSpec("x", (1000,), "float32"), 1)
    assert abs(normal.mean()) < 0.1 and abs(normal.std() - 1) < 0.1


CODE = """
import hashlib, sys
from partition_core.recipe.values import TensorSpec
from partition_core.sources.samples import draw
specs = [
    TensorSpec("a", (3, 5), "float32"), TensorSpec("b", (7,), "int64", (0, 499)),
    TensorSpec("c", (), "float64", (1.0, 2.0)), TensorSpec("d", (2,), "bool"),
]
for key in range(4):
    for name, array in draw(specs, key).items():
        print(key, name, hashlib.sha256(array.tobytes()).hexdigest())
assert not {"torch", "onnx", "onnxruntime"} & set(sys.modules)
"""


def test_every_process_draws_the_same_and_needs_neither_torch_nor_onnx() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", CODE],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert len(set(said[0].splitlines())) == 16


def test_another_input_beside_it_changes_no_input() -> None:
    alone = draw([IDS], 1)["ids"]
    beside = draw([TensorSpec("a", (5,), "float32"), IDS], 1)["ids"]
    np.testing.assert_array_equal(alone, beside)


def test_what_files_give_is_taken_and_the_rest_is_drawn() -> None:
    specs = (IDS, TensorSpec("present", (2, 64), "int64"), TensorSpec("x", (2,), "float32"))
    present, x = np.ones((2, 64), np.int64), np.array([7, 8], np.float32)
    given: list[Arrays] = [{"present": present}, {"x": x}]
    first, second = samples_of(specs, given)
    assert first.arrays()["present"] is present
    assert second.arrays()["x"] is x
    np.testing.assert_array_equal(first.arrays()["ids"], draw([IDS], 1)["ids"])
    np.testing.assert_array_equal(second.arrays()["ids"], draw([IDS], 2)["ids"])
    typical = typical_sample(specs, given).arrays()
    assert typical["present"] is present and typical["x"] is x
    assert undetermined([first]) == ()
    assert undetermined([first, second]) == ("present",)


def test_a_range_that_the_model_tells_is_for_inputs_of_which_nothing_is_said() -> None:
    specs = (
        TensorSpec("a", (4,), "int64"),
        TensorSpec("b", (4,), "int64", (0, 5)),
        TensorSpec("c", (), "int64", value=3),
        TensorSpec("d", (4,), "int8"),
        TensorSpec("e", (4,), "int64"),
    )
    told = dict.fromkeys("abcd", (0, 999))
    assert [one.range for one in ranged(specs, told)] == [(0, 999), (0, 5), None, (0, 127), None]
    assert range_notes(samples_of(specs, ()), told) == {
        "index_ranges": {"a": [0, 999], "d": [0, 999]},
        "drawn_from_0_and_1": ["e"],
    }


def test_a_range_with_which_the_model_does_not_run_is_left_out() -> None:
    specs = tuple(TensorSpec(name, (8,), "int64") for name in "abc")
    samples = samples_of(specs, ())
    told = {"a": (0, 9), "b": (0, 9), "c": (0, 9)}

    def limits(**most: int) -> dict[str, tuple[int, int]]:
        return usable_ranges(
            told, samples, lambda arrays: all(arrays[k].max() <= most[k] for k in most)
        )

    assert limits(a=9, b=9) == told
    assert limits(b=8) == {"a": (0, 9), "c": (0, 9)}
    assert limits(a=1, b=1, c=1) == {}
    # What runs alone need not run together.
    assert usable_ranges(told, samples, lambda x: x["a"].max() + x["b"].max() <= 10) == {}


def test_an_array_is_cut_or_repeated_for_another_size() -> None:
    array = np.arange(6).reshape(2, 3)
    assert fitted(array, (1, 5)).tolist() == [[0, 1, 2, 0, 1]]
    assert fitted(array, (3, 2)).tolist() == [[0, 1], [3, 4], [0, 1]]
    assert fitted(np.array(3), ()).tolist() == 3


def test_an_array_of_the_other_byte_order_is_no_array_of_the_dtype(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x=np.zeros(2, ">f4"))
    with pytest.raises(Exception, match="input 'x' is float32 there, but >f4 here"):
        arrays_from_files([file], {"x": TensorType("float32", (2,))}, "there")


NUMBERS = st.integers(-9, 9)


@given(st.integers(1, 12), NUMBERS.filter(bool), NUMBERS, st.integers(0, 4))
def test_a_range_holds_exactly_what_indexes_the_table(
    size: int, scale: int, low: int, spread: int
) -> None:
    origin = Origin("x", scale, low, low + spread)
    least, most = origin.within(size)
    for x in range(-40, 40):
        fits = all(0 <= scale * x + low + shift < size for shift in range(spread + 1))
        assert fits == (least <= x <= most)


def test_of_several_tables_the_smallest_counts_and_what_says_nothing_is_left_out() -> None:
    reads = IndexReads()
    for size in (500, 40, 60):
        reads.note(frozenset([Origin("ids")]), size)
    reads.note(frozenset([Origin("one_row")]), 1)
    reads.note(frozenset([Origin("turned", -1)]), 50)
    reads.note(frozenset([Origin("never", 1, 90, 90)]), 50)
    reads.note(frozenset([Origin("either", 1, 3, 3), Origin("either")]), 50)
    assert reads.ranges() == {"ids": (0, 39), "one_row": (0, 0), "either": (0, 46)}
