"""What torch.export needs to trace mmdet's own `predict`, as one `with` block.

General rules, none for a single model; the reasons are in docs/design_notes.md, "Tracing".
"""

from __future__ import annotations

import builtins
import contextlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData

from partition_core.sources.mmdet.exceptions import exceptions_while_traced
from partition_core.sources.mmdet.ops import traceable_ops
from partition_core.trace.replaced import Replacement, all_replaced
from partition_core.trace.symbolic_calls import symbolic_calls

_keys: Any = BaseDataElement.keys
_SHADOWED_PACKAGES = ("mmdet.models", "mmdet.structures", "mmcv.ops")


@contextlib.contextmanager
def mmdet_rules() -> Iterator[None]:
    """Let mmdet, mmengine and mmcv work with symbolic sizes while tracing."""
    with traceable_ops(), symbolic_calls(), exceptions_while_traced():
        shadows = (
            Replacement(module, name, symbolic)
            for module in _shadowed_modules()
            for name, symbolic in _SHADOWS.items()
        )
        with all_replaced((*_RULES, *shadows)):
            yield


def _keys_in_order(self: BaseDataElement) -> list[str]:
    # mmengine keeps the names in a set, whose order differs between processes. A property's value
    # is stored under its name with an underscore.
    positions = {name.removeprefix("_"): index for index, name in enumerate(vars(self))}
    return sorted(_keys(self), key=lambda name: positions[name.removeprefix("_")])


def _item(self: InstanceData, item: Any) -> Any:
    # Without mmengine's comparison of lengths, which fails for a symbolic size.
    if isinstance(item, str):
        return getattr(self, item)
    # For -1 the slice has no end: -1 + 1 would be 0.
    index = slice(item, item + 1 or None) if isinstance(item, int) else item
    chosen = self.__class__(metainfo=self.metainfo)
    for name in self.keys():
        chosen.set_field(getattr(self, name)[index], name)
    return chosen


def _of_pairs(symbolic: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    def chosen(*values: Any, **options: Any) -> Any:
        pair = len(values) == 2 and not options
        if pair and any(isinstance(value, torch.SymInt) for value in values):
            return symbolic(*values)
        return plain(*values, **options)

    return chosen


def _len(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.shape[0]
    if isinstance(value, InstanceData):
        names = value.keys()
        return _len(getattr(value, names[0])) if names else 0
    return builtins.len(value)


def _range(*values: Any) -> Any:
    # mmdet indexes a tensor with it; a data-dependent loop cannot be traced anyway.
    if any(isinstance(value, torch.SymInt) for value in values):
        return torch.arange(*values)
    return builtins.range(*values)


_RULES = (
    Replacement(InstanceData, "__setattr__", BaseDataElement.__setattr__),
    Replacement(InstanceData, "__getitem__", _item),
    Replacement(BaseDataElement, "keys", _keys_in_order),
    # mmengine copies the metadata of a picture, and with a symbolic size the whole trace.
    Replacement(torch.SymInt, "__deepcopy__", lambda self, _memo: self),
)

_SHADOWS: dict[str, Callable[..., Any]] = {
    "min": _of_pairs(torch.sym_min, builtins.min),
    "max": _of_pairs(torch.sym_max, builtins.max),
    "len": _len,
    "range": _range,
}
"""Python's functions that fail for a symbolic size, and what mmdet's modules see instead."""


def _shadowed_modules() -> list[types.ModuleType]:
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(_SHADOWED_PACKAGES) and isinstance(module, types.ModuleType)
    ]
