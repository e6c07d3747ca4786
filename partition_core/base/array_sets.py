"""Files of sets of named arrays; no code in them."""

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
"""ArraySet by name; a list of arrays is a sequence of ONNX."""


def save_sets(sets: Sequence[ArraySet], target: Path) -> None:
    """Write `sets` to `target`; equal sets give equal bytes.

    An array may have a dtype that numpy's format lacks, a list and a set may be empty, and a name
    any text. An array of objects raises ValueError.
    """
    forms = [{name: _form(value) for name, value in one.items()} for one in sets]
    arrays = [_plain(item) for one in sets for value in one.values() for item in _items(value)]
    index = np.frombuffer(json.dumps(forms).encode(), np.uint8)
    with writing(target), target.open("wb") as stream:
        np.savez(stream, index, *arrays, allow_pickle=False)


def load_sets(path: Path) -> list[dict[str, Any]]:
    """Return what `save_sets` wrote to the file at `path`, in the order it was saved."""
    with np.load(path, allow_pickle=False) as found:
        arrays = (found[member] for member in found.files)
        forms = json.loads(next(arrays).tobytes())
        return [{name: _value(form, arrays) for name, form in one.items()} for one in forms]


def _form(value: Any) -> tuple[bool, list[str]]:
    """Return whether a value is a list, and the names of the rare dtypes of its arrays."""
    rare = [rare_dtype(np.asarray(item).dtype) for item in _items(value)]
    return isinstance(value, list), [one.name if one else "" for one in rare]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(item: Any) -> Array:
    array = np.asarray(item, order="C")  # another order would be other bytes
    rare = rare_dtype(array.dtype)
    return array.view(rare.raw) if rare else array


def _value(form: tuple[bool, list[str]], arrays: Iterator[Array]) -> Any:
    is_list, dtypes = form
    items = [_typed(next(arrays), dtype) for dtype in dtypes]
    return items if is_list else items[0]


def _typed(array: Array, dtype: str) -> Array:
    return array.view(named_dtype(dtype).numpy()) if dtype else array
