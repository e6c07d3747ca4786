"""Questions that a model asks about sizes which its input decides, and the answers for every input.

While a model is traced, `if` takes one branch for all inputs that will ever come. A row of the
table holds a question, the branch that is right for every input, and why. A question without a
row stops the export: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy

_EMPTY = "an operation on no rows gives no rows, so the branch for some rows also holds for none"
_MORE = "to slice, or to take the top min(k, n), leaves a smaller number of rows as it is"
_FILTER = "to filter by a mask that is all true leaves every row where it is"
_PICTURES = "rows name pictures of the batch only, so no more of them than there are"
_SPLIT = "one suppression over all boxes keeps what one for each class in turn keeps"


@dataclass(frozen=True, order=True)
class Decision:
    """A question that the input decides, the answer taken, and why it holds for every input.

    `source` is the line of code that asks, without a folder of the machine.
    """

    source: str
    question: str
    answer: bool
    reason: str


@dataclass(frozen=True)
class _Row:
    asks: Callable[[sympy.Basic], bool]
    answer: bool
    reason: str
    source: str = ""


def _compares(kinds: tuple[type, ...], least: float, most: float) -> Callable[[sympy.Basic], bool]:
    def asks(question: sympy.Basic) -> bool:
        limit = question.rhs
        return isinstance(question, kinds) and limit.is_number and least <= limit <= most

    return asks


_INFINITE = float("inf")
_BBOX_HEADS = "mmdet/models/roi_heads/bbox_heads/"

SIZE_QUESTIONS = (
    _Row(_compares((sympy.Eq, sympy.Le), 0, 0), False, _EMPTY),
    _Row(_compares((sympy.Lt,), 1, 1), False, _EMPTY),
    _Row(_compares((sympy.Ne, sympy.Gt), 0, 0), True, _EMPTY),
    _Row(_compares((sympy.Ge,), 1, 1), True, _EMPTY),
    _Row(_compares((sympy.Gt, sympy.Ge), 1, _INFINITE), True, _MORE),
    _Row(_compares((sympy.Lt,), 2, _INFINITE), True, _SPLIT, source="mmcv/ops/nms.py"),
    _Row(
        _compares((sympy.Le,), 1, _INFINITE), True, _PICTURES, source=f"{_BBOX_HEADS}bbox_head.py"
    ),
)
"""Questions about a number of rows, by the form that sympy gives them: number of rows first."""

MASK_QUESTIONS = {
    "all()": (False, _FILTER),
    "any()": (True, _EMPTY),
    "sum() == 0": (False, _EMPTY),
    "sum() > 0": (True, _EMPTY),
}
"""Questions about a mask as a whole, as they are written behind its name."""


def decide_size(question: sympy.Basic, source: str) -> Decision | None:
    """Return the answer to a comparison that `source` asks about, or None if no row knows it."""
    if not isinstance(question, sympy.core.relational.Relational):
        return None
    ordered = question.reversed if question.lhs.is_number else question
    if not _is_count(ordered.lhs):
        return None
    for row in SIZE_QUESTIONS:
        if row.asks(ordered) and source.startswith(row.source):
            return Decision(source, str(ordered), row.answer, row.reason)
    return None


def _is_count(number: sympy.Basic) -> bool:
    """Return whether `number` counts rows or elements: it grows with each size, from zero on."""
    if number.is_Symbol:
        return bool(number.is_integer)
    if isinstance(number, sympy.Add | sympy.Mul) or number.func.__name__ in ("Min", "Max"):
        return all(_is_count(part) for part in number.args)
    return bool(number.is_Integer and number.is_positive)


def decide_mask(asked: str, source: str) -> Decision:
    """Return the answer to one of `MASK_QUESTIONS`."""
    answer, reason = MASK_QUESTIONS[asked]
    return Decision(source, f"mask.{asked}", answer, reason)
