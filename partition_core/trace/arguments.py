"""The arguments of one call by the names of parameters, each given as the caller gave it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

_OWNER = ("self", "cls")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Arguments(MutableMapping[str, Any]):
    """What a call of `function` gives, by the names of its parameters, without `self` or `cls`.

    What goes into `*rest` is a tuple under that name; what goes into `**rest` has names of its
    own. A change goes where the caller put the argument: by position in `positional`, by name in
    `by_name`. A wrapper that looks into its keyword arguments finds them as without a mark.
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
        self._places: dict[str, int | slice | str] = dict(
            zip(named, range(len(args)), strict=False)
        )
        if rest and len(args) > len(named):
            self._places[rest[0]] = slice(len(named), len(args))
        self._places |= {name: name for name in kwargs}
        order = [*kinds, *kwargs]
        self._names = sorted((name for name in self._places if name not in _OWNER), key=order.index)

    def __getitem__(self, name: str) -> Any:
        place = self._places[name]
        if isinstance(place, str):
            return self.by_name[place]
        found = self.positional[place]
        return tuple(found) if isinstance(place, slice) else found

    def __setitem__(self, name: str, value: Any) -> None:
        place = self._places[name]
        if isinstance(place, str):
            self.by_name[place] = value
        else:
            self.positional[place] = value

    def __delitem__(self, name: str) -> None:
        raise TypeError("an argument of a call cannot be taken away")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
