"""Replaces attributes of modules, classes or objects for the duration of a `with` block."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple


class Replacement(NamedTuple):
    """An attribute and what stands for it: `owner` is an object, or the dotted path of a module or
    of a class in one.

    `in_pytorch` means that the model needs it in PyTorch too; otherwise only a trace does.
    """

    owner: Any
    attribute: str
    value: Any
    in_pytorch: bool = False

    def target(self) -> Any:
        """Return the owner itself, imported if need be."""
        if not isinstance(self.owner, str):
            return self.owner
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing mmcv uses deprecated functions of torch
            try:
                return importlib.import_module(self.owner)
            except ModuleNotFoundError:
                module, _, name = self.owner.rpartition(".")
                return getattr(importlib.import_module(module), name)


@contextlib.contextmanager
def all_replaced(rows: Iterable[Replacement]) -> Iterator[None]:
    """Replace the attribute of each row, in their order."""
    with contextlib.ExitStack() as undo:
        for row in rows:
            undo.enter_context(replaced(row.target(), row.attribute, row.value))
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set `owner.name` to `value`; at the end restore or delete `owner`'s own attribute."""
    own = vars(owner)
    had, before = name in own, own.get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
