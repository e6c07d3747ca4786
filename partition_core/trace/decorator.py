"""The `@mark` decorator, which gives a function a mark's name, inputs and outputs.

Outside of an export the function behaves as if it were not decorated. Imports no torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from partition_core.recipe.values import Mark

if TYPE_CHECKING:
    from partition_core.trace.marking import Marking

P = ParamSpec("P")
R = TypeVar("R")


ACTIVE_MARKER: ContextVar[Marking | None] = ContextVar("ACTIVE_MARKER", default=None)


def mark(
    name: str,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that makes a function or method the mark `name`.

    `inputs` names its parameters (after `self`), by their own names or by position, and `outputs`
    its results by position; None marks every tensor. A recipe uses the mark after declaring it as
    `{name: …, decorator: true}`. At any other time the function may be called as usual.
    """
    declared = Mark(
        name=name,
        on=None,
        module=None,
        inputs=None if inputs is None else tuple(inputs),
        outputs=None if outputs is None else tuple(outputs),
        decorator=True,
    )

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def marked(*args: P.args, **kwargs: P.kwargs) -> R:
            marker = ACTIVE_MARKER.get()
            if marker is None:
                return function(*args, **kwargs)
            result: R = marker.call(declared, function, *args, **kwargs)
            return result

        return marked

    return decorate
