"""The table of answers to questions about sizes that the input decides."""

from __future__ import annotations

import pytest
import sympy

from partition_core.export.questions import MASK_QUESTIONS, decide_mask, decide_size

n, m = sympy.symbols("u0 u1", integer=True, nonnegative=True)
real = sympy.Symbol("zuf0", real=True)


def answer(question: sympy.Basic, source: str = "mdl.py:7") -> bool | None:
    decision = decide_size(question, source)
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


@pytest.mark.parametrize(("question", "expected"), [*EMPTY, *MORE], ids=str)
def test_a_known_question_gets_the_answer_of_the_general_branch(
    question: sympy.Rel, expected: bool
) -> None:
    assert answer(question) is expected


@pytest.mark.parametrize(("question", "expected"), [*EMPTY, *MORE], ids=str)
def test_the_number_may_stand_on_the_left(question: sympy.Rel, expected: bool) -> None:
    assert question.reversed.lhs.is_number
    assert answer(question.reversed) is expected


@pytest.mark.parametrize(
    "count",
    [4 * n, n + m, n * m + 2, sympy.Min(n, 1000), sympy.Max(n, m)],
    ids=str,
)
def test_products_sums_and_extremes_of_sizes_are_counts_too(count: sympy.Expr) -> None:
    assert answer(sympy.Gt(count, 0, evaluate=False)) is True
    assert answer(sympy.Eq(count, 0, evaluate=False)) is False


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
    ],
    ids=str,
)
def test_an_unknown_question_gets_no_answer(question: sympy.Basic) -> None:
    assert answer(question) is None
    if isinstance(question, sympy.core.relational.Relational):
        assert answer(question.reversed) is None


def test_whether_to_split_a_suppression_is_known_only_where_mmcv_asks() -> None:
    few = sympy.Lt(n, 10000)
    assert answer(few, "mmcv/ops/nms.py:300") is True
    assert answer(few.reversed, "mmcv/ops/nms.py:300") is True
    assert answer(few, "my/mmcv/ops/nms.py:300") is None
    assert answer(sympy.Lt(n, 1, evaluate=False), "mmcv/ops/nms.py:300") is False


def test_rows_name_no_more_pictures_than_the_batch_has_only_where_mmdet_asserts_it() -> None:
    head = "mmdet/models/roi_heads/bbox_heads/bbox_head.py:655"
    assert answer(sympy.Le(n, 1), head) is True
    assert answer(sympy.Ge(1, n), head) is True
    assert answer(sympy.Le(n, 1), "mmdet/models/detectors/base.py:9") is None
    assert answer(sympy.Eq(n, 1), head) is None


def test_a_decision_says_who_asked_what_and_why_it_holds() -> None:
    decision = decide_size(sympy.Lt(3, n), "mdl.py:7")
    assert decision is not None
    assert (decision.source, decision.question, decision.answer) == ("mdl.py:7", "u0 > 3", True)
    assert "smaller number of rows" in decision.reason


def test_masks_are_filtered_and_never_taken_for_empty() -> None:
    taken = {asked: decide_mask(asked, "a.py:1").answer for asked in MASK_QUESTIONS}
    assert taken == {"all()": False, "any()": True, "sum() == 0": False, "sum() > 0": True}
    assert decide_mask("all()", "a.py:1").question == "mask.all()"
