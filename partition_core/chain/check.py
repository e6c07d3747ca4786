"""Checks tensors against a segment's boundary: names, dtypes and dims; must not run anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from partition_core.base.arrays import Array
from partition_core.base.errors import Problem, RunError, one_of, problem, suggestion
from partition_core.chain.pieces import Tensor

Sizes = dict[str, tuple[int, str]]
"""What the free sizes of a segment are in one call, each with the tensor that said so."""

_TEXT = "OSU"


def check(
    where: str, given: Mapping[str, object], expected: Sequence[Tensor], sizes: Sizes
) -> None:
    """Raise RunError with everything in which the tensors `given` by name are not `expected`.

    `where` starts the messages. `sizes` is filled, and compared with what it holds.
    """
    known = [tensor.name for tensor in expected]
    problems = [
        problem(f"{where} '{name}'", "it is not known here", one_of(known), suggestion(name, known))
        for name in given
        if name not in known
    ]
    for tensor in expected:
        if tensor.name not in given:
            problems.append(problem(f"{where} '{tensor.name}'", "is missing", _told(tensor)))
        else:
            problems += _wrong(f"{where} '{tensor.name}'", given[tensor.name], tensor, sizes)
    if problems:
        raise RunError(*problems)


def _wrong(where: str, array: object, tensor: Tensor, sizes: Sizes) -> Iterator[Problem]:
    if not isinstance(array, np.ndarray):
        yield problem(where, f"is a {type(array).__name__}", f"{_told(tensor)}, as a numpy array")
        return
    if not _is_dtype(array, tensor.dtype):
        remedy = f"convert it with `.astype('{tensor.dtype}')` if that is what it means"
        yield problem(where, f"its dtype is {array.dtype}", _told(tensor), remedy)
    if array.ndim != len(tensor.dims):
        yield problem(where, f"its dims are {list(array.shape)}", _told(tensor))
        return
    for axis, (size, dim) in enumerate(zip(array.shape, tensor.dims, strict=True)):
        if isinstance(dim, int) and size != dim:
            yield problem(where, f"its dims are {list(array.shape)}", _told(tensor))
            return
        if isinstance(dim, str):
            other, by = sizes.setdefault(dim, (size, where))
            if other != size:
                yield problem(
                    where,
                    f"its dim {axis} is {size}",
                    f"{_told(tensor)}, and '{dim}' is {other} in {by}",
                )


def _is_dtype(array: Array, dtype: str) -> bool:
    return array.dtype.kind in _TEXT if dtype == "string" else array.dtype.name == dtype


def _told(tensor: Tensor) -> str:
    return f"expected {tensor.dtype}[{', '.join(map(str, tensor.dims))}]"
