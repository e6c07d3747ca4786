"""Conditions of answers: all code that an answer relies on, also around its line, was reviewed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn

from partition_core.trace.asker import Asker, Function
from partition_core.trace.questions import Condition

_READ = frozenset({"mmcv", "mmdet", "mmengine", "torch", "partition_core"})
"""The packages whose code was reviewed, or is ours."""


def parts(*names: str) -> Condition:
    """Return the condition that `names`, attributes of the asking object, are not a user's code.

    An attribute is a method, or an object with all the modules in it; losses, which take no part
    in a prediction, do not count, nor do attributes that the object lacks.
    """

    def holds(asker: Asker) -> bool:
        owner = asker.variables.get("self")
        return owner is not None and all(_is_read(getattr(owner, name, None)) for name in names)

    return Condition(f"{_listed(names)} of mmdet or mmcv", holds)


def called_by(*functions: Function) -> Condition:
    """Return the condition that these functions called the asking one, the nearest first."""

    def holds(asker: Asker) -> bool:
        return asker.callers[: len(functions)] == functions

    names = [function.name for function in functions]
    return Condition(f"called by {_listed(names)}", holds, functions)


def argument_given(name: str) -> Condition:
    """Return the condition that an argument of the asking function is not None."""
    return Condition(f"`{name}` is given", lambda asker: asker.variables.get(name) is not None)


def _is_read(part: Any) -> bool:
    if part is None:
        return True
    if inspect.isroutine(part):
        return all(package in _READ for package in _packages(part))
    modules = part.named_modules() if isinstance(part, nn.Module) else [("", part)]
    kinds = (type(inner) for name, inner in modules if not _is_loss(name, inner))
    return all(kind.__module__.partition(".")[0] in _READ for kind in kinds)


def _is_loss(name: str, module: Any) -> bool:
    is_named_loss = name.rpartition(".")[2].startswith("loss")
    return is_named_loss and not getattr(module, "custom_activation", False)


def _packages(routine: Any) -> Iterator[str]:
    """Yield the package of a function, and of those that it wraps, such as marked ones."""
    while routine is not None:
        plain = getattr(routine, "__func__", routine)
        # `functools.wraps` copies the inner function's module name, so read its globals instead.
        yield getattr(plain, "__globals__", {}).get("__name__", "").partition(".")[0]
        routine = getattr(plain, "__wrapped__", None)


def _listed(names: tuple[str, ...] | list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return ", ".join(quoted[:-1]) + " and " + quoted[-1] if len(quoted) > 1 else quoted[0]
