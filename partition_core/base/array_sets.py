"""Reads and writes files of sets of named arrays, without pickled objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partition_core.base.arrays import Array
from partition_core.base.disk_errors import writing
from partition_core.base.rare_dtypes import named_dtype, rare_dtype

ArraySet = Mapping[str, Any]
"""Arrays by name; a list of arrays is an ONNX sequence."""


def save_sets(sets: Sequence[ArraySet], target: Path) -> None:
    """Write `sets` to `target`; equal sets give equal bytes.

    Arrays may have dtypes that numpy's format lacks, lists and sets may be empty, and names any
    text. An array of objects raises ValueError.
    """
    forms = [{name: _form(value) for name, value in arrays.items()} for arrays in sets]
    raw = [_plain(item) for arrays in sets for value in arrays.values() for item in _items(value)]
    index = np.frombuffer(json.dumps(forms).encode(), np.uint8)
    with writing(target), target.open("wb") as stream:
        np.savez(stream, index, *raw, allow_pickle=False)


def load_sets(path: Path) -> list[dict[str, Any]]:
    """Return the sets that `save_sets` wrote to `path`, in their order."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = (archive[member] for member in archive.files)
        forms = json.loads(next(arrays).tobytes())
        return [{name: _value(form, arrays) for name, form in entry.items()} for entry in forms]


def _form(value: Any) -> tuple[bool, list[str]]:
    """Return whether a value is a list, and the names of the rare dtypes of its arrays."""
    rare = [rare_dtype(np.asarray(item).dtype) for item in _items(value)]
    return isinstance(value, list), [dtype.name if dtype else "" for dtype in rare]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(item: Any) -> Array:
    array = np.asarray(item, order="C")  # another order would give other bytes
    rare = rare_dtype(array.dtype)
    return array.view(rare.raw) if rare else array


def _value(form: tuple[bool, list[str]], arrays: Iterator[Array]) -> Any:
    is_list, dtypes = form
    raw = [(next(arrays), dtype) for dtype in dtypes]
    items = [array.view(named_dtype(dtype).numpy()) if dtype else array for array, dtype in raw]
    return items if is_list else items[0]
