"""Conditions of answers: all code that an answer rests on, also around its line, was read."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn

from partition_core.trace.asker import Asker, Function
from partition_core.trace.questions import Condition

_READ = frozenset({"mmcv", "mmdet", "mmengine", "torch", "partition_core"})
"""The packages whose code was read, or is ours."""


def parts(*names: str) -> Condition:
    """Return the condition that `names`, attributes of the object that asks, are no user's code.

    An attribute is a method, or an object with all the modules in it; losses that take no part in
    a prediction do not count, nor do attributes that the object lacks.
    """

    def holds(asker: Asker) -> bool:
        owner = asker.variables.get("self")
        return owner is not None and all(_is_read(getattr(owner, name, None)) for name in names)

    return Condition(f"{_listed(names)} of mmdet or mmcv", holds)


def called_by(*functions: Function) -> Condition:
    """Return the condition that these functions called the one that asks, the nearest first."""

    def holds(asker: Asker) -> bool:
        return asker.callers[: len(functions)] == functions

    names = [function.name for function in functions]
    return Condition(f"called by {_listed(names)}", holds, functions)


def given(name: str) -> Condition:
    """Return the condition that an argument of the function that asks is not None."""
    return Condition(f"`{name}` is given", lambda asker: asker.variables.get(name) is not None)


def _is_read(part: Any) -> bool:
    if part is None:
        return True
    if inspect.isroutine(part):
        return all(one in _READ for one in _packages(part))
    modules = part.named_modules() if isinstance(part, nn.Module) else [("", part)]
    return all(_package(type(one)) in _READ for name, one in modules if not _is_loss(name, one))


def _is_loss(name: str, module: Any) -> bool:
    called = name.rpartition(".")[2].startswith("loss")
    return called and not getattr(module, "custom_activation", False)


def _packages(routine: Any) -> Iterator[str]:
    """Yield where a function is from, and those that it is wrapped around, such as marked ones."""
    while routine is not None:
        plain = getattr(routine, "__func__", routine)
        # What `functools.wraps` copies says where the inner one is from.
        yield getattr(plain, "__globals__", {}).get("__name__", "").partition(".")[0]
        routine = getattr(plain, "__wrapped__", None)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _listed(names: tuple[str, ...] | list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return ", ".join(quoted[:-1]) + " and " + quoted[-1] if len(quoted) > 1 else quoted[0]
