"""The answers to questions about what the input decides: whose code they hold for, and which."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy

from partition_core.recipe.values import Answer
from partition_core.trace import questions
from partition_core.trace.asker import Asker
from partition_core.trace.questions import Answers, Decision, KnownFunction

n, m = sympy.symbols("u0 u1", integer=True, nonnegative=True)
real = sympy.Symbol("zuf0", real=True)

LINE = "if rows.shape[0] > 0:"
ASKER = Asker("head.py:7", "head", "Head.predict", LINE, "0123456789abcdef")


def known(*kinds: questions.Kind) -> Answers:
    return Answers([KnownFunction("head", "Head.predict", "0123456789abcdef", {LINE: kinds})])


def answer(question: questions.Question, *kinds: questions.Kind) -> bool | None:
    decision = known(*kinds).decide(question, ASKER)
    return None if decision is None else decision.answer


EMPTY = [
    (sympy.Eq(n, 0, evaluate=False), False),
    (sympy.Le(n, 0, evaluate=False), False),
    (sympy.Lt(n, 1, evaluate=False), False),
    (sympy.Ne(n, 0, evaluate=False), True),
    (sympy.Gt(n, 0, evaluate=False), True),
    (sympy.Ge(n, 1, evaluate=False), True),
]
MORE = [
    (sympy.Gt(n, 1, evaluate=False), True),
    (sympy.Gt(n, 1000, evaluate=False), True),
    (sympy.Ge(n, 2, evaluate=False), True),
]
ROWS = (*questions.NOT_EMPTY, *questions.MORE_THAN_THE_LIMIT)


@pytest.mark.parametrize(("question", "expected"), [*EMPTY, *MORE], ids=str)
def test_a_known_question_gets_the_answer_of_the_general_branch(
    question: sympy.Rel, expected: bool
) -> None:
    assert answer(question, *ROWS) is expected


@pytest.mark.parametrize(("question", "expected"), [*EMPTY, *MORE], ids=str)
def test_the_number_may_stand_on_the_left(question: sympy.Rel, expected: bool) -> None:
    assert question.reversed.lhs.is_number
    assert answer(question.reversed, *ROWS) is expected


@pytest.mark.parametrize(
    "count",
    [4 * n, n + m, n * m + 2, sympy.Min(n, 1000), sympy.Max(n, m)],
    ids=str,
)
def test_products_sums_and_extremes_of_sizes_are_counts_too(count: sympy.Expr) -> None:
    assert answer(sympy.Gt(count, 0, evaluate=False), *ROWS) is True
    assert answer(sympy.Eq(count, 0, evaluate=False), *ROWS) is False


@pytest.mark.parametrize(
    "question",
    [
        sympy.Eq(n, 1),
        sympy.Eq(n, 7),
        sympy.Ne(n, 1),
        sympy.Ne(n, 100),
        sympy.Le(n, 1),
        sympy.Le(n, 100),
        sympy.Lt(n, 2),
        sympy.Lt(n, 10000),
        sympy.Gt(n, -1, evaluate=False),
        sympy.Lt(n, 0, evaluate=False),
        sympy.Gt(n, m),
        sympy.Eq(n, m),
        sympy.Eq(sympy.Mod(n, 2), 0),
        sympy.Ne(sympy.Mod(n, 2), 0),
        sympy.Gt(n - m, 0),
        sympy.Gt(-n, 0, evaluate=False),
        sympy.Eq(n - 3, 0, evaluate=False),
        sympy.Gt(sympy.floor(n / 2), 0),
        sympy.Gt(n / 2, 1, evaluate=False),
        sympy.Gt(real, 0),
        sympy.Gt(real, 2),
        n,
        sympy.true,
        sympy.And(sympy.Gt(n, 0, evaluate=False), sympy.Gt(m, 0, evaluate=False)),
        "bool()",
        "sum() == 3",
    ],
    ids=str,
)
def test_an_unknown_question_gets_no_answer(question: sympy.Basic) -> None:
    everything = (*ROWS, *questions.NOT_ALL, *questions.SOME_MATCH)
    assert answer(question, *everything) is None
    if isinstance(question, sympy.core.relational.Relational):
        assert answer(question.reversed, *everything) is None


def test_masks_are_filtered_and_never_taken_for_empty() -> None:
    kinds = (*questions.NOT_ALL, *questions.SOME_MATCH)
    asked = ("all()", "any()", "sum() == 0", "sum() > 0")
    assert {each: answer(each, *kinds) for each in asked} == {
        "all()": False,
        "any()": True,
        "sum() == 0": False,
        "sum() > 0": True,
    }


@pytest.mark.parametrize(
    "asker",
    [
        replace(ASKER, module="my.head"),
        replace(ASKER, function="MyHead.predict"),
        replace(ASKER, code="if rows.shape[0] > 0 and more:"),
        replace(ASKER, digest="fedcba9876543210"),
        replace(ASKER, digest=""),
    ],
    ids=["module", "function", "line", "changed", "no source"],
)
def test_an_answer_holds_for_one_line_of_one_function_as_it_was_read(asker: Asker) -> None:
    question = sympy.Gt(n, 0, evaluate=False)
    assert known(*ROWS).decide(question, ASKER) is not None
    assert known(*ROWS).decide(question, asker) is None


def test_a_line_is_only_answered_what_it_is_known_to_ask() -> None:
    assert answer(sympy.Gt(n, 0, evaluate=False), *questions.NOT_ALL) is None
    assert answer("any()", *questions.NOT_ALL) is None


def test_a_decision_says_which_line_asks_what_and_why_it_holds() -> None:
    decision = known(*ROWS).decide(sympy.Lt(3, n), ASKER)
    assert decision is not None
    assert (decision.source, decision.code) == ("head.py:7", LINE)
    assert (decision.question, decision.answer, decision.assumed) == ("u0 > 3", True, False)
    assert "smaller number of rows" in decision.reason


@pytest.mark.parametrize("question", [sympy.Eq(sympy.Mod(n, 2), 0), "bool()", "all()"], ids=str)
@pytest.mark.parametrize("taken", [True, False])
def test_a_user_may_answer_any_question_of_a_line(question: sympy.Basic, taken: bool) -> None:
    given = Answers((), [Answer("head.py:7", taken, "always even")])
    decision = given.decide(question, ASKER)
    assert decision is not None
    assert (decision.answer, decision.assumed, decision.reason) == (taken, True, "always even")
    assert given.decide(question, replace(ASKER, label="head.py:8")) is None


def test_a_users_answer_comes_before_a_known_one() -> None:
    both = Answers(known(*ROWS).known, [Answer("head.py:7", False, "")])
    decision = both.decide(sympy.Gt(n, 0, evaluate=False), ASKER)
    assert decision == Decision("head.py:7", "u0 > 0", False, "", LINE, assumed=True)
