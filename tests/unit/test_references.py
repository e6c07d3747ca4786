"""Mark references: the grammar, and which tensors a reference means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partition_core.recipe.mark_reference import MarkReference, Side, parse_reference

SIDES: st.SearchStrategy[Side] = st.sampled_from(("input", "output"))
REFERENCES = st.builds(
    MarkReference,
    mark=st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True),
    side=SIDES,
    call=st.integers(0, 999_999),
    path=st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True), max_size=3).map(tuple),
)


@given(REFERENCES)
def test_a_reference_survives_being_written_and_read(reference: MarkReference) -> None:
    assert parse_reference(str(reference)) == reference


@given(st.text(max_size=20))
def test_any_text_is_a_reference_or_none(text: str) -> None:
    reference = parse_reference(text)
    assert reference is None or parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "mark", "call", "side", "path"),
    [
        ("head:input", "head", 0, "input", ()),
        ("head[0]:output", "head", 0, "output", ()),
        ("head[12]:input.pred_maps.1", "head", 12, "input", ("pred_maps", "1")),
    ],
)
def test_a_reference_has_mark_call_side_and_path(
    text: str, mark: str, call: int, side: Side, path: tuple[str, ...]
) -> None:
    assert parse_reference(text) == MarkReference(mark, side, call, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "head",
        "head:",
        "head:inputs",
        ":input",
        "1head:input",
        "head[]:input",
        "head[-1]:input",
        "head[01]:input",
        "head[" + "9" * 5000 + "]:input",
        "head:input.",
        "head:input..x",
        "head:input\n",
        "hé:input",
        "head :input",
    ],
)
def test_what_is_not_in_the_grammar_is_no_reference(text: str) -> None:
    assert parse_reference(text) is None


def test_a_reference_selects_the_tensors_below_its_path() -> None:
    reference = MarkReference("head", "input", path=("maps",))
    assert reference.selects(("maps",))
    assert reference.selects(("maps", "1"))
    assert not reference.selects(("map",))
    assert not reference.selects(())
    assert MarkReference("head", "input").selects(("maps", "1"))
