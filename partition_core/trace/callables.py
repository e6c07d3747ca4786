"""A user's callables, which a recipe names as `package.module:function`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from partition_core.base.errors import ExportError, suggestion
from partition_core.trace.checkpoint import without_unsafe_advice


def imported(path: str, place: str, returns: str) -> Callable[..., Any]:
    """Return the callable that `path`, `package.module:function`, names.

    Raises ExportError; its message says that the callable should return `returns`.
    """
    module_name, _, name = path.partition(":")
    try:
        owner = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise factory_error(path, f"importing '{module_name}' fails", error, place) from error
    factory = getattr(owner, name, None)
    if callable(factory):
        result: Callable[..., Any] = factory
        return result
    raise ExportError.at(
        place,
        f"module '{module_name}' has no function '{name}'",
        f"expected a callable that returns {returns}",
        suggestion(name, (known for known in vars(owner) if not known.startswith("_"))),
    )


def factory_error(path: str, what: str, error: Exception, place: str) -> ExportError:
    """Return the error for an exception of a user's callable."""
    reason = f"{type(error).__name__}: {without_unsafe_advice(str(error))}"
    return ExportError.at(place, f"factory '{path}': {what}", reason)
