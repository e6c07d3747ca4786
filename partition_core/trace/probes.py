"""Inputs far from those that a model is proven on, to search for one that takes another branch.

Imports only numpy. The same inputs come from the same sample, in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from partition_core.base.arrays import Array

_LARGE, _SMALL = 100.0, 0.01
_BRIGHTEST = 255.0


def probes(sample: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return inputs of several kinds, by their names in messages, shaped like those of `sample`.

    Integers stay between the smallest and the largest of the sample.
    """
    return {
        name: {key: _probe(kind, array) for key, array in sample.items()}
        for name, kind in _KINDS.items()
    }


def _probe(kind: Callable[[Array], Array], array: Array) -> Array:
    if array.size == 0:
        return array
    values = kind(array.astype(np.float64))
    if array.dtype.kind == "b":
        return values > 0
    if array.dtype.kind in "iu":
        values = np.clip(np.rint(values), array.min(), array.max())
    elif array.dtype.kind == "f":
        limit = float(np.finfo(array.dtype).max)
        values = np.clip(values, -limit, limit)
    return values.astype(array.dtype)


def _picture(array: Array) -> Array:
    return np.linspace(0.0, _BRIGHTEST, array.size).reshape(array.shape)


def _spike(array: Array) -> Array:
    spike = np.zeros_like(array)
    spike.flat[array.size // 2] = _LARGE
    return spike


_KINDS: dict[str, Callable[[Array], Array]] = {
    "all zero": np.zeros_like,
    "all one": np.ones_like,
    f"{_SMALL:g} times a sample": lambda array: array * _SMALL,
    f"{_LARGE:g} times a sample": lambda array: array * _LARGE,
    "a sample without signs": np.abs,
    "a sample with minus signs": lambda array: -np.abs(array),
    "a picture": _picture,
    "one value among zeros": _spike,
}
