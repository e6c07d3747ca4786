"""Files of named arrays, such as the eager results that an export leaves for the proof; no code
in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from partition_core.base.disk_errors import writing
from partition_core.base.rare_dtypes import named_dtype, rare_dtype

Array = np.ndarray[Any, Any]
_FORMS = "__forms__"


def save_reference(arrays: Mapping[str, Any], target: Path) -> None:
    """Write `arrays` to `target` by name; equal arrays give equal bytes.

    A value may be a list of arrays, and have a dtype that numpy's format lacks.
    """
    members: dict[str, Array] = {}
    forms: dict[str, Any] = {}
    for name, value in arrays.items():
        items = value if isinstance(value, list) else [value]
        rare = [rare_dtype(np.asarray(item).dtype) for item in items]
        if isinstance(value, list) or any(rare):
            forms[name] = [isinstance(value, list), [one.name if one else "" for one in rare]]
            for index, (item, one) in enumerate(zip(items, rare, strict=True)):
                members[f"{name}/{index}"] = item.view(one.raw) if one else item
        else:
            members[name] = value
    if forms:
        members[_FORMS] = np.frombuffer(json.dumps(forms).encode(), np.uint8)
    with writing(target), target.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **members)


def load_reference(path: Path) -> dict[str, Any]:
    """Return what `save_reference` wrote to the file at `path`, in the order it was saved."""
    with np.load(path, allow_pickle=False) as arrays:
        if _FORMS not in arrays.files:
            return {name: arrays[name] for name in arrays.files}
        forms = json.loads(arrays[_FORMS].tobytes())
        found: dict[str, Any] = {}
        for member in arrays.files:
            name = member.rpartition("/")[0]
            if member == _FORMS or name in found:
                continue
            if name not in forms:
                found[member] = arrays[member]
                continue
            is_list, dtypes = forms[name]
            items = [_typed(arrays[f"{name}/{index}"], one) for index, one in enumerate(dtypes)]
            found[name] = items if is_list else items[0]
        # A list without arrays has no member.
        return {**found, **{name: [] for name, (is_list, _) in forms.items() if name not in found}}


def _typed(array: Array, dtype: str) -> Array:
    return array.view(named_dtype(dtype).numpy()) if dtype else array
