"""Nested lists, tuples and dicts of tensors, walked with a dotted path for each tensor.

Independent of any tensor library: a predicate recognizes tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

TensorPath = tuple[str, ...]


def map_tensors(
    value: Any,
    is_tensor: Callable[[Any], bool],
    change: Callable[[Any, TensorPath], Any],
    path: TensorPath = (),
) -> Any:
    """Return `value` with `change(tensor, path)` in the place of every tensor in it.

    The containers are rebuilt with their own types (named tuples too); a dict's key and a
    list's or tuple's index is a step of the path. Anything else is returned as it is.
    """
    if is_tensor(value):
        return change(value, path)
    if isinstance(value, dict):
        return type(value)(
            (key, map_tensors(item, is_tensor, change, (*path, str(key))))
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        items = [
            map_tensors(item, is_tensor, change, (*path, str(index)))
            for index, item in enumerate(value)
        ]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def tensors(value: Any, is_tensor: Callable[[Any], bool]) -> Iterator[tuple[TensorPath, Any]]:
    """Yield `(path, tensor)` for every tensor in `value`, in order."""
    pairs: list[tuple[TensorPath, Any]] = []

    def note(tensor: Any, path: TensorPath) -> Any:
        pairs.append((path, tensor))
        return tensor

    map_tensors(value, is_tensor, note)
    yield from pairs


def mappings_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping in nested mappings, lists and tuples, each before those inside it."""
    if isinstance(value, Mapping):
        yield value
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from mappings_in(item)
