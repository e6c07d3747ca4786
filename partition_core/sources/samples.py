"""The inputs that a model is proven on, from files or drawn; imports neither torch nor onnx.

Every draw is the same in every process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partition_core.base.array_files import arrays_in
from partition_core.base.arrays import Array, Arrays
from partition_core.base.errors import Problem, ProofError, one_of, problem, suggestion
from partition_core.base.index_ranges import ZERO_OR_ONE, Ranges
from partition_core.recipe.input_forms import INTEGERS, Expected, dims_misfit
from partition_core.recipe.values import Range, Recipe, TensorSpec

TYPICAL = 0
"""The key of an input like those that a model was made for; that of sample k is k + 1."""
_LEAST_SAMPLES = 2
_NO_RANGE: Range = (0, 1)
_FEW = 64
"""Integers of which two draws may be equal; of more they are not, in practice."""


def draw(specs: Sequence[TensorSpec], key: int) -> dict[str, Array]:
    """Return one array for each of `specs`, by name; another `key` gives other ones.

    All elements are the `value` of a spec, or else lie in its `range`. If that has neither, floats
    are normally distributed, integers and booleans 0 or 1. Of an array that has room for all
    integers of its range, each is an element, and otherwise both ends are; of an array with one
    integer the greatest for an odd key, the least for an even one. An odd key and the next give
    different integers, also where only few are possible.
    """
    return {spec.name: _drawn(spec, key) for spec in specs}


def _drawn(spec: TensorSpec, key: int) -> Array:
    dtype, size = np.dtype(spec.dtype), math.prod(spec.shape)
    if size * dtype.itemsize > sys.maxsize:
        raise MemoryError(f"input '{spec.name}' has {size} elements")
    if spec.value is not None:
        return np.full(spec.shape, spec.value, dtype)
    if dtype.kind == "f":
        return _floats(_generator(spec, key), spec.range, size, dtype).reshape(spec.shape)
    low, high = map(int, spec.range or _NO_RANGE)
    kind = np.dtype(np.int64) if dtype.kind == "b" else dtype
    drawn = _integers(_generator(spec, key), low, high, size, kind)
    if size == 1:
        drawn = np.full(1, high if key % 2 else low, kind)
    elif size <= _FEW and key % 2:
        following = _integers(_generator(spec, key + 1), low, high, size, kind)
        if np.array_equal(drawn, following):
            drawn = np.asarray(high, kind) - drawn + np.asarray(low, kind)
    return drawn.astype(dtype).reshape(spec.shape)


def _generator(spec: TensorSpec, key: int) -> np.random.Generator:
    # One for each input: that others are given or added does not change it.
    digest = hashlib.sha256(f"{key}:{spec.name}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def _floats(generator: np.random.Generator, span: Range | None, size: int, dtype: Any) -> Array:
    if span is None:
        return generator.standard_normal(size, np.float32).astype(dtype)
    low, high = span
    share = generator.random(size)
    drawn = np.asarray(low * (1 - share) + high * share, dtype)
    if size > 1:
        drawn[generator.choice(size, 2, replace=False)] = low, high
    return drawn


def _integers(generator: np.random.Generator, low: int, high: int, size: int, dtype: Any) -> Array:
    count = high - low + 1
    if size >= count:
        # Each as often as the others, so that every row of a table is read.
        steps = (np.arange(size) % count).astype(dtype)
        return np.asarray(generator.permutation(steps) + np.asarray(low, dtype))
    drawn = np.asarray(generator.integers(low, high, size, dtype, endpoint=True))
    if size > 1:
        drawn[generator.choice(size, 2, replace=False)] = low, high
    return drawn


@dataclass(frozen=True)
class Sample:
    """One sample: the arrays that a file gives, and the inputs that are drawn with `key`."""

    given: Arrays
    drawn: tuple[TensorSpec, ...]
    key: int

    def arrays(self) -> dict[str, Array]:
        """Return an array for each input, by name."""
        return {**self.given, **draw(self.drawn, self.key)}

    def ranged(self, ranges: Ranges) -> Sample:
        """Return the sample with `ranges` for the inputs of which nothing is said."""
        return dataclasses.replace(self, drawn=ranged(self.drawn, ranges))


def samples_of(specs: Sequence[TensorSpec], given: Sequence[Arrays]) -> list[Sample]:
    """Return a sample for each of `given`, what files give; two that are drawn if that is empty."""
    return [
        Sample(arrays, tuple(spec for spec in specs if spec.name not in arrays), number + 1)
        for number, arrays in enumerate(given or [{}] * _LEAST_SAMPLES)
    ]


def typical_sample(specs: Sequence[TensorSpec], given: Sequence[Arrays]) -> Sample:
    """Return the sample that is drawn with the key `TYPICAL` where none of `given` has an array."""
    merged = {name: array for arrays in reversed(given) for name, array in arrays.items()}
    return Sample(merged, tuple(spec for spec in specs if spec.name not in merged), TYPICAL)


def undetermined(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return the integer inputs that a sample draws though nothing tells their range, sorted."""
    names = {spec.name for sample in samples for spec in sample.drawn if _is_undetermined(spec)}
    return tuple(sorted(names))


def _is_undetermined(spec: TensorSpec) -> bool:
    return spec.dtype in INTEGERS and spec.range is None and spec.value is None


def ranged(specs: Sequence[TensorSpec], ranges: Ranges) -> tuple[TensorSpec, ...]:
    """Return `specs` with `ranges` for those of which nothing is said, as far as the dtypes go."""

    def with_range(spec: TensorSpec) -> TensorSpec:
        if spec.name not in ranges or not _is_undetermined(spec):
            return spec
        low, high = ranges[spec.name]
        most = INTEGERS[spec.dtype][1]
        return dataclasses.replace(spec, range=(min(low, most), min(high, most)))

    return tuple(map(with_range, specs))


def usable_ranges(
    ranges: Ranges, samples: Sequence[Sample], runs: Callable[[Arrays], bool]
) -> dict[str, tuple[int, int]]:
    """Return those of `ranges` with which `samples` run: what tells a range may not know it all.

    If all together do not run, those that do alone are tried together.
    """

    def usable(chosen: Ranges) -> bool:
        return all(runs(sample.ranged(chosen).arrays()) for sample in samples)

    if not ranges or usable(ranges):
        return dict(ranges)
    alone = {name: found for name, found in ranges.items() if usable({name: found})}
    return alone if 0 < len(alone) < len(ranges) and usable(alone) else {}


def range_notes(samples: Sequence[Sample], ranges: Ranges) -> dict[str, Any]:
    """Return, for the manifest, the ranges that were read off the model, and what is 0 or 1.

    `samples` are those without `ranges`.
    """
    unknown = undetermined([sample.ranged(ranges) for sample in samples])
    found = [name for name in undetermined(samples) if name not in unknown]
    return {
        **({"index_ranges": {name: list(ranges[name]) for name in found}} if found else {}),
        **({ZERO_OR_ONE: list(unknown)} if unknown else {}),
    }


def fitted(array: Array, shape: tuple[int, ...]) -> Array:
    """Return `array`, of the same rank as `shape`, cut or repeated to have it."""
    for axis, size in enumerate(shape):
        array = np.take(array, np.arange(size) % array.shape[axis], axis)
    return array


def given_inputs(recipe: Recipe, root: Path) -> list[dict[str, Array]]:
    """Return the arrays of the files that the recipe of a torch model names, a dict for each file.

    Raises ProofError for all that does not fit `export.inputs`.
    """
    expected = {spec.name: Expected(spec.dtype, spec.shape) for spec in recipe.export.inputs}
    files = [root / name for name in recipe.proof.inputs]
    return given_arrays(files, expected, "in 'export.inputs'")


def given_arrays(
    files: Sequence[Path], inputs: Mapping[str, Expected], origin: str
) -> list[dict[str, Array]]:
    """Return the arrays in each of `files`, which may leave out some of `inputs`.

    `origin` names what says what the inputs are. Raises ProofError, with places below
    `proof.inputs`, for all that does not fit.
    """
    samples: list[dict[str, Array]] = []
    problems: list[Problem] = []
    for index, file in enumerate(files):
        place = f"proof.inputs[{index}]"
        try:
            sample = arrays_in(file)
        except (OSError, ValueError) as error:
            what = f"'{file.name}' is not an '.npz' file of plain arrays"
            problems.append(problem(place, what, " ".join(str(error).split())))
            continue
        if not sample:
            problems.append(problem(place, f"'{file.name}' holds no array", one_of(inputs)))
        problems += [
            problem(place, what, expected, remedy)
            for what, expected, remedy in _misfits(sample, inputs, origin)
        ]
        samples.append(sample)
    if problems:
        raise ProofError(*problems)
    return samples


def _misfits(
    sample: Arrays, inputs: Mapping[str, Expected], origin: str
) -> list[tuple[str, str, str]]:
    wrong: list[tuple[str, str, str]] = []
    for name, array in sample.items():
        expected = inputs.get(name)
        if expected is None:
            wrong.append((f"unknown input '{name}'", one_of(inputs), suggestion(name, inputs)))
            continue
        misfit = dims_misfit(name, expected.dims, array.shape, origin)
        if misfit:
            wrong.append((f"{misfit}, and {list(array.shape)} here", "", ""))
        if expected.dtype and array.dtype != np.dtype(expected.dtype):
            what = f"input '{name}' is {expected.dtype} {origin}, and {array.dtype} here"
            wrong.append((what, "", ""))
    return wrong
