"""Questions that a model asks about input-dependent values, and the answers to them.

While a model is traced, `if` takes one branch for all inputs that will ever come. An answer is
right for code that was reviewed: a row names a line of one function, by the digest of its source,
the question and the branch that is right there for every input. So no row applies to a user's
code, nor to a function that was changed. Users may answer for a line at their own risk. All other
questions stop the export: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import sympy

from partition_core.recipe.values import Answer
from partition_core.trace.asker import Asker, Function

Question: TypeAlias = sympy.Basic | str
"""A comparison with a number of rows, or a reduction of a whole mask: `all()`, `any()`, …"""


@dataclass(frozen=True)
class Kind:
    """A kind of question, the branch that is taken and why it holds for every input."""

    matches: Callable[[Question], bool]
    answer: bool
    reason: str


@dataclass(frozen=True, order=True)
class Decision:
    """A question that depends on the input, the answer taken, and why it holds for every input.

    `source` is the line that asks, as `file:line`, and `code` its text. `assumed` means
    that the answer is a user's, which only the proof's inputs test.
    """

    source: str
    question: str
    answer: bool
    reason: str
    code: str = ""
    assumed: bool = False


@dataclass(frozen=True)
class Condition:
    """What must hold where a question is asked: `text` for people; `rests_on` are its functions.

    An answer may rely on functions that the asking one calls, or that use its result; it holds only
    if their code was reviewed too.
    """

    text: str
    holds: Callable[[Asker], bool]
    rests_on: tuple[Function, ...] = ()


@dataclass(frozen=True)
class KnownFunction:
    """A function whose source has the digest `digest`, and the kinds of questions of its lines.

    The answers apply where all of the conditions `only` hold.
    """

    module: str
    function: str
    digest: str
    lines: Mapping[str, tuple[Kind, ...]]
    only: tuple[Condition, ...] = ()

    def read(self) -> Function:
        """Return the function without its questions."""
        return Function(self.module, self.function, self.digest)


@dataclass(frozen=True)
class Answers:
    """The answers for one model: those of the `known` functions, and those `by_user`."""

    known: Sequence[KnownFunction] = ()
    by_user: Sequence[Answer] = ()

    def __bool__(self) -> bool:
        return bool(self.known or self.by_user)

    def decide(self, question: Question, asker: Asker) -> Decision | None:
        """Return the answer to a question that `asker` asks, None if it has none."""
        for answer in self.by_user:
            if answer.at == asker.label:
                text = _worded(question)
                return Decision(
                    asker.label, text, answer.answer, answer.reason, asker.code, assumed=True
                )
        if isinstance(question, sympy.Basic):
            question = rows_first(question)
        for kind in self._kinds(asker):
            if kind.matches(question):
                text = _worded(question)
                return Decision(asker.label, text, kind.answer, kind.reason, asker.code)
        return None

    def _kinds(self, asker: Asker) -> tuple[Kind, ...]:
        for row in self.known:
            if (row.module, row.function) == (asker.module, asker.function):
                is_known = row.digest == asker.digest and all(
                    condition.holds(asker) for condition in row.only
                )
                return row.lines.get(asker.code, ()) if is_known else ()
        return ()


def because(kinds: tuple[Kind, ...], reason: str) -> tuple[Kind, ...]:
    """Return `kinds` with the reason why their answers are right for one line."""
    return tuple(replace(kind, reason=reason) for kind in kinds)


NO_ANSWERS = Answers()


def rows_first(question: sympy.Basic) -> sympy.Basic:
    """Return a comparison with its number on the right side."""
    if isinstance(question, sympy.core.relational.Relational) and question.lhs.is_number:
        return question.reversed
    return question


def _worded(question: Question) -> str:
    return f"mask.{question}" if isinstance(question, str) else str(question)


def _compares(kinds: tuple[Any, ...], least: float, most: float) -> Callable[[Question], bool]:
    def matches(question: Question) -> bool:
        if isinstance(question, str) or not isinstance(question, kinds):
            return False
        number, limit = question.args
        return bool(limit.is_number and least <= limit <= most and _is_count(number))

    return matches


def _asks(*of_mask: str) -> Callable[[Question], bool]:
    return lambda question: question in of_mask


def _is_count(number: sympy.Basic) -> bool:
    """Return whether `number` counts rows or elements: it grows with each size, from zero on."""
    if number.is_Symbol:
        return bool(number.is_integer)
    if isinstance(number, sympy.Add | sympy.Mul) or number.func.__name__ in ("Min", "Max"):
        return all(_is_count(part) for part in number.args)
    if isinstance(number, sympy.Pow):
        return _is_count(number.base) and bool(number.exp.is_Integer and number.exp.is_positive)
    return bool(number.is_Integer and number.is_positive)


_INFINITE = float("inf")
_NO_ROWS = "an operation on no rows gives no rows, so the branch for some rows also holds for none"
_NO_MATCH = "a filter that lets nothing through gives no rows, and so does all that follows it"

NOT_EMPTY = (
    Kind(_compares((sympy.Eq, sympy.Le), 0, 0), False, _NO_ROWS),
    Kind(_compares((sympy.Lt,), 1, 1), False, _NO_ROWS),
    Kind(_compares((sympy.Ne, sympy.Gt), 0, 0), True, _NO_ROWS),
    Kind(_compares((sympy.Ge,), 1, 1), True, _NO_ROWS),
)
"""Is there a row? The branch for some rows."""

MORE_THAN_THE_LIMIT = (
    Kind(
        _compares((sympy.Gt, sympy.Ge), 1, _INFINITE),
        True,
        "to slice leaves a smaller number of rows as it is",
    ),
)
"""Are there more rows than a limit? The branch that cuts them to it."""

PICTURES_OF_THE_BATCH = (
    Kind(
        _compares((sympy.Le,), 1, _INFINITE),
        True,
        "rows name pictures of the batch only; the other side is an error in PyTorch",
    ),
)
"""Do rows name at most so many pictures? They do."""

NOT_ALL = (Kind(_asks("all()"), False, "to filter by a mask that is all true changes nothing"),)
"""Is a mask all true? The branch that filters by it."""

SOME_MATCH = (
    Kind(_asks("any()", "sum() > 0"), True, _NO_MATCH),
    Kind(_asks("sum() == 0"), False, _NO_MATCH),
)
"""Is a mask true anywhere? The branch that filters by it."""
