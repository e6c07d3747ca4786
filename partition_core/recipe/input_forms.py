"""The dtypes, dims and elements that input arrays may have; must not import numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from partition_core.recipe.values import Element

_FLOAT_MOST = {"float16": 65504.0, "float32": 3.4028234663852886e38, "float64": float("inf")}
_BITS = {8: "int8", 16: "int16", 32: "int32", 64: "int64"}
INTEGERS: dict[str, tuple[int, int]] = {
    **{name: (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for bits, name in _BITS.items()},
    **{f"u{name}": (0, (1 << bits) - 1) for bits, name in _BITS.items()},
}
"""The minimum and maximum of each integer dtype."""

DRAWN = frozenset((*_FLOAT_MOST, *INTEGERS, "bool"))
"""The dtypes that random inputs can have."""

NO_RANGE_OF_BOOL = (
    "a bool has no range",
    "its elements are false and true",
    "remove it, or write 'value: true' or 'value: false'",
)
"""What is wrong with a range of booleans, what is expected, and what to do."""

ALL_FIXED = (
    "every input has a fixed 'value', so all samples are the same",
    "expected an input that differs from sample to sample",
    "remove a 'value', or list '.npz' files in 'proof.inputs'",
)
"""What is wrong where no input varies, what is expected, and what to do."""


def is_element(dtype: str, number: Element) -> bool:
    """Return whether an element of `dtype`, one of `DRAWN`, can be `number`."""
    if dtype == "bool" or isinstance(number, bool):
        return dtype == "bool" and isinstance(number, bool)
    if dtype in INTEGERS:
        low, high = INTEGERS[dtype]
        return isinstance(number, int) and low <= number <= high
    return abs(number) <= _FLOAT_MOST[dtype]


def elements_text(dtype: str) -> str:
    """Return the elements that `dtype`, one of `DRAWN`, allows, in words."""
    if dtype == "bool":
        return "true or false"
    if dtype in INTEGERS:
        low, high = INTEGERS[dtype]
        return f"a whole number from {low} to {high}"
    most = _FLOAT_MOST[dtype]
    return "a number" if most == float("inf") else f"a number from {-most:.8g} to {most:.8g}"


class TensorType(NamedTuple):
    """The dtype of a tensor, empty for any, and its dims; None for any, or without a rank."""

    dtype: str
    dims: Sequence[int | str | None] | None

    def __str__(self) -> str:
        return f"{self.dtype}{' without a rank' if self.dims is None else dims_text(self.dims)}"


def dims_misfit(
    name: str,
    dims: Sequence[int | str | None] | None,
    shape: Sequence[int],
    origin: str,
) -> str:
    """Return how `shape` contradicts `dims`, which an input has by `origin`; empty if it fits."""
    if dims is None:
        return ""
    fits = len(dims) == len(shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(dims, shape, strict=True)
    )
    return "" if fits else f"input '{name}' has the dims {dims_text(dims)} {origin}"


def dims_text(dims: Sequence[int | str | None]) -> str:
    """Return dims as a file has them: `[batch, 3, ?]`."""
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"
