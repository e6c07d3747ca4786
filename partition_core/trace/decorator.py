"""The `@mark` decorator: a name, and the names of inputs and outputs, put on a function.

Outside of an export the function behaves as if it were not decorated. Imports no torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, ParamSpec, Protocol, TypeVar

from partition_core.recipe.values import Mark

P = ParamSpec("P")
R = TypeVar("R")


class MarkPlacer(Protocol):
    """What puts marks on a call while a model is run for an export."""

    def call(self, mark: Mark, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` with its marked arguments and return its marked result."""


ACTIVE_PLACER: ContextVar[MarkPlacer | None] = ContextVar("ACTIVE_PLACER", default=None)


def mark(
    name: str,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that makes a function or method the mark `name`.

    `inputs` names its parameters (after `self`), by their own names or by position, and `outputs`
    its results by position;
    None marks every tensor found. A recipe uses the mark after declaring it as
    `{name: …, decorator: true}`. The function may be called at any other time as usual.
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
            placer = ACTIVE_PLACER.get()
            if placer is None:
                return function(*args, **kwargs)
            result: R = placer.call(declared, function, *args, **kwargs)
            return result

        return marked

    return decorate
