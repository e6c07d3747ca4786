"""Clears the caches of a user's functions between the exports of a run.

A function under `functools.cache` that read a file for one recipe would not read it for the next,
so that the second recipe's dependency would go unnoticed.
"""

from __future__ import annotations

import functools
from types import ModuleType

from partition_core.build.dependencies.used_modules import Code, file_of, modules_here

_CACHED = type(functools.cache(len))


def forget_results(code: Code) -> None:
    """Clear the caches of functions and methods in modules that count by their content."""
    for _, module in modules_here():
        if code.is_local(file_of(module)):
            _clear(module)


def _clear(owner: ModuleType | type) -> None:
    for value in list(vars(owner).values()):
        # No attribute of another object is read: that could run any code.
        if issubclass(type(value), type) and value is not owner and _is_in(value, owner):
            _clear(value)
        function = value.__func__ if type(value) in (staticmethod, classmethod) else value
        if type(function) is _CACHED:
            function.cache_clear()


def _is_in(inner: type, owner: ModuleType | type) -> bool:
    module = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    return inner.__module__ == module
