"""Models that are called in every way in which Python calls a function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Layer(nn.Module):
    """A layer with a weight, whose name in a file is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)


class Optional(Layer):
    """The input is the first parameter, the scale the last; a flag changes the result."""

    def forward(
        self, x: Tensor, mask: Tensor | None = None, doubled: bool = False, scale: Any = None
    ) -> Tensor:
        y = self.linear(x)
        y = y if mask is None else y * mask
        y = y * 2 if doubled else y
        return y if scale is None else y * scale


class KeywordOnly(Layer):
    """A tensor may be given by name alone, another by position alone."""

    def forward(self, x: Tensor, /, *, shift: Tensor) -> Tensor:
        return self.linear(x) - shift


class Variable(Layer):
    """Any number of tensors, by position and by name."""

    def forward(self, x: Tensor, *more: Tensor, **named: Tensor) -> Tensor:
        y = self.linear(x)
        for tensor in more:
            y = y * 2 - tensor
        return y - named["shift"] * 3 + named.get("scale", 0)


class Nested(Layer):
    """A list of dicts, as caches of attention are, and a dict with a constant beside a tensor."""

    def forward(self, x: Tensor, past: Sequence[Mapping[str, Tensor]], how: Any) -> Any:
        y = self.linear(x) * how["scale"] - (1 if how["mode"] == "less" else 0)
        for layer in past:
            y = y * layer["key"] - layer["value"]
        return {"y": y, "past": [{"key": layer["key"] + 1} for layer in past]}


@dataclass
class Cache:
    """An object of a class of its own, made of pairs."""

    pairs: Sequence[tuple[Tensor, Tensor]]


class Cached(Layer):
    """It takes an object of a class."""

    def forward(self, x: Tensor, cache: Cache) -> Tensor:
        assert isinstance(cache, Cache)
        ((key, value),) = cache.pairs
        return self.linear(x) * key - value


def careful(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, which gets what is given by name in a dict, as wrappers often do."""

    @functools.wraps(function)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **{**kwargs, "flag": kwargs.get("flag", True)})

    return wrapper


class Inner(Layer):
    """A layer behind a wrapper that fails when 'flag' comes by position."""

    @careful
    def forward(self, x: Tensor, mask: Tensor | None = None, flag: bool | None = None) -> Tensor:
        return self.linear(x) * (1 if mask is None else mask) if flag else x


class Outer(nn.Module):
    """It calls its layer by names."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.inner(x=x + 1, flag=True, mask=x > 0))
