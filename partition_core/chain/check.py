"""Checks tensors against a segment's boundary: names, dtypes and dims; must not run anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from partition_core.base.arrays import Array
from partition_core.base.errors import Problem, RunError, one_of, problem, suggestion
from partition_core.chain.pieces import Tensor

Sizes = dict[str, tuple[int, str]]
"""The free sizes of a segment in one call, each with the first tensor that has it."""

_TEXT = "OSU"


def check(
    where: str, arrays: Mapping[str, object], expected: Sequence[Tensor], sizes: Sizes
) -> None:
    """Raise RunError with every mismatch between `arrays`, by name, and the `expected` tensors.

    `where` starts the messages. `sizes` is filled in and compared.
    """
    known = [tensor.name for tensor in expected]
    problems = [
        problem(f"{where} '{name}'", "unknown name", one_of(known), suggestion(name, known))
        for name in arrays
        if name not in known
    ]
    for tensor in expected:
        if tensor.name not in arrays:
            problems.append(problem(f"{where} '{tensor.name}'", "is missing", _expected(tensor)))
        else:
            problems += _mismatches(f"{where} '{tensor.name}'", arrays[tensor.name], tensor, sizes)
    RunError.refuse(problems)


def _mismatches(where: str, array: object, tensor: Tensor, sizes: Sizes) -> Iterator[Problem]:
    if not isinstance(array, np.ndarray):
        yield problem(
            where, f"is a {type(array).__name__}", f"{_expected(tensor)}, as a numpy array"
        )
        return
    if not _is_dtype(array, tensor.dtype):
        remedy = f"convert it with `.astype('{tensor.dtype}')` if that keeps its meaning"
        yield problem(where, f"its dtype is {array.dtype}", _expected(tensor), remedy)
    if array.ndim != len(tensor.dims):
        yield problem(where, f"its dims are {list(array.shape)}", _expected(tensor))
        return
    for axis, (size, dim) in enumerate(zip(array.shape, tensor.dims, strict=True)):
        if isinstance(dim, int) and size != dim:
            yield problem(where, f"its dims are {list(array.shape)}", _expected(tensor))
            return
        if isinstance(dim, str):
            other, by = sizes.setdefault(dim, (size, where))
            if other != size:
                yield problem(
                    where,
                    f"its dim {axis} is {size}",
                    f"{_expected(tensor)}, and '{dim}' is {other} in {by}",
                )


def _is_dtype(array: Array, dtype: str) -> bool:
    return array.dtype.kind in _TEXT if dtype == "string" else array.dtype.name == dtype


def _expected(tensor: Tensor) -> str:
    return f"expected {tensor.dtype}[{', '.join(map(str, tensor.dims))}]"
