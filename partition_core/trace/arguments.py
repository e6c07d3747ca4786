"""The arguments of one call by parameter name, each passed on as the caller passed it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

_OWNER = ("self", "cls")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Arguments:
    """The arguments of a call of `function` by parameter name, without `self` or `cls`.

    Arguments of `*rest` are a tuple under that name; those of `**rest` have their own names. A
    change is made where the caller put the argument: by position in `positional`, by name in
    `by_name`. A wrapper that inspects its keyword arguments sees the same ones as without a mark.
    """

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Raise TypeError, as the call would, for arguments that do not fit."""
        signature = inspect.signature(function)
        signature.bind(*args, **kwargs)
        kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
        named = [name for name, kind in kinds.items() if kind in _POSITIONAL]
        rest = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_POSITIONAL]
        others = inspect.Parameter.VAR_KEYWORD
        self.positional = list(args)
        self.by_name = dict(kwargs)
        self.parameters = [
            name for name, kind in kinds.items() if kind is not others and name not in _OWNER
        ]
        self._slots: dict[str, int | slice | str] = dict(zip(named, range(len(args)), strict=False))
        if rest and len(args) > len(named):
            self._slots[rest[0]] = slice(len(named), len(args))
        self._slots |= {name: name for name in kwargs}
        order = [*kinds, *kwargs]
        self._names = sorted((name for name in self._slots if name not in _OWNER), key=order.index)

    def __getitem__(self, name: str) -> Any:
        slot = self._slots[name]
        if isinstance(slot, str):
            return self.by_name[slot]
        argument = self.positional[slot]
        return tuple(argument) if isinstance(slot, slice) else argument

    def __setitem__(self, name: str, value: Any) -> None:
        slot = self._slots[name]
        if isinstance(slot, str):
            self.by_name[slot] = value
        else:
            self.positional[slot] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)
