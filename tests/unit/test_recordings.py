"""Files of recordings and of sets of arrays: all comes back, and equal ones have equal bytes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from partition_core.base.array_sets import load_sets, save_sets
from partition_core.base.rare_dtypes import RARE
from partition_core.base.recording import (
    RecordedSample,
    Recording,
    load_recording,
    save_recording,
)
from partition_core.proof.comparison import same_bits

PLAIN = ("float32", "float64", "float16", "int64", "int8", "uint8", "bool")
# Names of ONNX files are any text, and once were keys with slashes and numbers in them.
NAMES = st.text(max_size=8) | st.sampled_from(
    ["/a/b", "0/input/x", "a", "a/0", "arr_0", "file", "args", "allow_pickle", "__forms__", "x.npy"]
)


@st.composite
def rare_arrays(draw: st.DrawFn) -> np.ndarray:
    rare = RARE[draw(st.sampled_from(sorted(RARE)))]
    shape = draw(arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    top = (1 << rare.bits) - 1
    bits = draw(arrays_of.arrays(rare.raw, shape, elements=st.integers(0, top)))
    return np.asarray(bits).view(rare.numpy())


@st.composite
def plain_arrays(draw: st.DrawFn) -> np.ndarray:
    shape = draw(arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    return draw(arrays_of.arrays(draw(st.sampled_from(PLAIN)), shape))


ARRAYS = plain_arrays() | rare_arrays()
SETS = st.dictionaries(NAMES, ARRAYS | st.lists(ARRAYS, max_size=3), max_size=4)
CHANGES = st.dictionaries(NAMES, st.floats(0, allow_nan=False), max_size=2)
SAMPLES = st.builds(RecordedSample, SETS, SETS, SETS, CHANGES, CHANGES, st.sampled_from(["", "ä"]))
RECORDINGS = st.builds(Recording, st.lists(SAMPLES, max_size=3).map(tuple), st.booleans())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


def check_same(found: Any, expected: Any) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert type(found[name]) is type(value)
        assert same_bits(found[name], value)


@settings(max_examples=50)
@given(st.lists(SETS, max_size=3))
def test_sets_come_back_in_their_order(folder: Path, sets: list[dict[str, Any]]) -> None:
    save_sets(sets, folder / "x.npz")
    found = load_sets(folder / "x.npz")
    assert len(found) == len(sets)
    for one, expected in zip(found, sets, strict=True):
        check_same(one, expected)


@settings(max_examples=50)
@given(RECORDINGS)
def test_a_recording_comes_back_with_every_field(folder: Path, recording: Recording) -> None:
    save_recording(recording, folder / "x.npz")
    found = load_recording(folder / "x.npz")
    assert found.is_traced is recording.is_traced
    assert len(found.samples) == len(recording.samples)
    for one, expected in zip(found.samples, recording.samples, strict=True):
        for name in (field.name for field in fields(RecordedSample)):
            if name in ("inputs", "marks", "outputs"):
                check_same(getattr(one, name), getattr(expected, name))
            else:
                assert getattr(one, name) == getattr(expected, name)


@settings(max_examples=50)
@given(RECORDINGS)
def test_equal_recordings_have_equal_bytes(folder: Path, recording: Recording) -> None:
    save_recording(recording, folder / "one.npz")
    save_recording(load_recording(folder / "one.npz"), folder / "other.npz")
    assert (folder / "one.npz").read_bytes() == (folder / "other.npz").read_bytes()


def test_how_an_array_lies_in_memory_does_not_change_the_bytes(folder: Path) -> None:
    rows = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    wide = np.zeros((4, 3, 4), np.float32)
    wide[::2] = rows
    contents = set()
    for array in (rows, np.asfortranarray(rows), wide[::2]):
        save_sets([{"x": array, "y": [array]}], folder / "x.npz")
        contents.add((folder / "x.npz").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("kind", ["inputs", "marks", "outputs"])
def test_where_an_array_belongs_is_in_the_bytes(folder: Path, kind: str) -> None:
    none: dict[str, Any] = {"inputs": {}, "marks": {}, "outputs": {}}
    sample = RecordedSample(**{**none, kind: {"x": np.zeros(2)}})
    contents = set()
    for samples in ((sample,), (sample, RecordedSample(**none)), (RecordedSample(**none), sample)):
        save_recording(Recording(samples, True), folder / "x.npz")
        contents.add((folder / "x.npz").read_bytes())
    assert len(contents) == 3


def test_objects_are_not_written(folder: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save_sets([{"x": np.array(["a", None], object)}], folder / "x.npz")
