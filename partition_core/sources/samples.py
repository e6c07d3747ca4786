"""The inputs that a model is proven on, from files or random; imports neither torch nor onnx.

Random inputs are the same in every process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partition_core.base.array_files import arrays_in
from partition_core.base.arrays import Array, Arrays
from partition_core.base.errors import Problem, ProofError, one_of, problem, suggestion
from partition_core.base.index_ranges import ZERO_OR_ONE, Ranges
from partition_core.base.wording import one_line
from partition_core.recipe.input_forms import INTEGERS, TensorType, dims_misfit
from partition_core.recipe.values import Range, Recipe, TensorSpec

TYPICAL = 0
"""The key of a typical input; the key of sample k is k + 1."""
_LEAST_SAMPLES = 2
_NO_RANGE: Range = (0, 1)
_FEW = 64
"""Up to this many integers, two draws may be equal; with more they are not, in practice."""


def draw(specs: Sequence[TensorSpec], key: int) -> dict[str, Array]:
    """Return a random array for each of `specs`, by name, determined by `key`.

    All elements are the `value` of a spec, or else lie in its `range`. Without either, floats are
    normally distributed, integers and booleans 0 or 1. An array with room for all integers of its
    range contains each, and otherwise both ends; an array of one integer contains the greatest for
    an odd key, the least for an even one. An odd key and the next give different integers, even if
    only few are possible.
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
    # One per input, so that other inputs do not affect it.
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
        # Each equally often, so that every row of a table is read.
        steps = (np.arange(size) % count).astype(dtype)
        return np.asarray(generator.permutation(steps) + np.asarray(low, dtype))
    drawn = np.asarray(generator.integers(low, high, size, dtype, endpoint=True))
    if size > 1:
        drawn[generator.choice(size, 2, replace=False)] = low, high
    return drawn


@dataclass(frozen=True)
class Sample:
    """One sample: the arrays from a file, and the inputs that are drawn with `key`."""

    from_file: Arrays
    drawn: tuple[TensorSpec, ...]
    key: int

    def arrays(self) -> dict[str, Array]:
        """Return an array for each input, by name."""
        return {**self.from_file, **draw(self.drawn, self.key)}

    def ranged(self, ranges: Ranges) -> Sample:
        """Return the sample with `ranges` for the inputs without a range or value."""
        return dataclasses.replace(self, drawn=ranged(self.drawn, ranges))


def samples_of(specs: Sequence[TensorSpec], files: Sequence[Arrays]) -> list[Sample]:
    """Return a sample for the arrays of each of `files`; two random ones if there are none."""
    return [
        Sample(arrays, tuple(spec for spec in specs if spec.name not in arrays), number + 1)
        for number, arrays in enumerate(files or [{}] * _LEAST_SAMPLES)
    ]


def typical_sample(specs: Sequence[TensorSpec], files: Sequence[Arrays]) -> Sample:
    """Return the sample whose inputs are drawn with the key `TYPICAL` unless `files` have them."""
    merged = {name: array for arrays in reversed(files) for name, array in arrays.items()}
    return Sample(merged, tuple(spec for spec in specs if spec.name not in merged), TYPICAL)


def undetermined(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return the integer inputs that a sample draws without a known range, sorted."""
    names = {spec.name for sample in samples for spec in sample.drawn if _is_undetermined(spec)}
    return tuple(sorted(names))


def _is_undetermined(spec: TensorSpec) -> bool:
    return spec.dtype in INTEGERS and spec.range is None and spec.value is None


def ranged(specs: Sequence[TensorSpec], ranges: Ranges) -> tuple[TensorSpec, ...]:
    """Return `specs` with `ranges` for those without a range or value, clipped to the dtypes."""

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
    """Return those of `ranges` with which `samples` run: an inferred range may be wrong.

    If all together fail, those that work individually are tried together.
    """

    def usable(chosen: Ranges) -> bool:
        return all(runs(sample.ranged(chosen).arrays()) for sample in samples)

    if not ranges or usable(ranges):
        return dict(ranges)
    alone = {name: span for name, span in ranges.items() if usable({name: span})}
    return alone if 0 < len(alone) < len(ranges) and usable(alone) else {}


def range_notes(samples: Sequence[Sample], ranges: Ranges) -> dict[str, Any]:
    """Return, for the manifest, the ranges inferred from the model, and the inputs that are 0 or 1.

    `samples` are those without `ranges`.
    """
    unknown = undetermined([sample.ranged(ranges) for sample in samples])
    inferred = [name for name in undetermined(samples) if name not in unknown]
    return {
        **({"index_ranges": {name: list(ranges[name]) for name in inferred}} if inferred else {}),
        **({ZERO_OR_ONE: list(unknown)} if unknown else {}),
    }


def fitted(array: Array, shape: tuple[int, ...]) -> Array:
    """Return `array`, of the same rank as `shape`, cropped or repeated to that shape."""
    for axis, size in enumerate(shape):
        array = np.take(array, np.arange(size) % array.shape[axis], axis)
    return array


def inputs_from_files(recipe: Recipe, root: Path) -> list[dict[str, Array]]:
    """Return the arrays of the files that the recipe of a torch model names, a dict for each file.

    Raises ProofError for everything that does not fit `export.inputs`.
    """
    expected = {spec.name: TensorType(spec.dtype, spec.shape) for spec in recipe.export.inputs}
    files = [root / name for name in recipe.proof.inputs]
    return arrays_from_files(files, expected, "in 'export.inputs'")


def arrays_from_files(
    files: Sequence[Path], inputs: Mapping[str, TensorType], origin: str
) -> list[dict[str, Array]]:
    """Return the arrays in each of `files`, which may leave out some of `inputs`.

    `origin` is where `inputs` are defined, for messages. Raises ProofError, with places below
    `proof.inputs`, for everything that does not fit.
    """
    samples: list[dict[str, Array]] = []
    problems: list[Problem] = []
    for index, file in enumerate(files):
        place = f"proof.inputs[{index}]"
        try:
            sample = arrays_in(file)
        except (OSError, ValueError) as error:
            what = f"'{file.name}' is not an '.npz' file of plain arrays"
            problems.append(problem(place, what, one_line(error)))
            continue
        if not sample:
            problems.append(problem(place, f"'{file.name}' contains no array", one_of(inputs)))
        problems += _misfits(place, sample, inputs, origin)
        samples.append(sample)
    ProofError.refuse(problems)
    return samples


def _misfits(
    place: str, sample: Arrays, inputs: Mapping[str, TensorType], origin: str
) -> Iterator[Problem]:
    for name, array in sample.items():
        expected = inputs.get(name)
        if expected is None:
            what, near = f"unknown input '{name}'", suggestion(name, inputs)
            yield problem(place, what, one_of(inputs), near)
            continue
        misfit = dims_misfit(name, expected.dims, array.shape, origin)
        if misfit:
            yield problem(place, f"{misfit}, but {list(array.shape)} here")
        if expected.dtype and array.dtype != np.dtype(expected.dtype):
            what = f"input '{name}' is {expected.dtype} {origin}, but {array.dtype} here"
            yield problem(place, what)
