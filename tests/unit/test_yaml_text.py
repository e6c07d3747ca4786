"""YAML text to a tree: values, lines, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partition_core.recipe.yaml_text import (
    MAX_ALIASES,
    MAX_BYTES,
    MAX_DEPTH,
    parse_yaml,
    read_yaml,
)
from partition_core.recipe.yaml_tree import Node, path_text


def tree(text: str) -> Node:
    parsed = parse_yaml(text.encode(), "x.yaml")
    assert not parsed.problems, [str(problem) for problem in parsed.problems]
    assert parsed.root is not None
    return parsed.root


def problems(text: str | bytes) -> list[str]:
    encoded = text.encode() if isinstance(text, str) else text
    return [str(problem) for problem in parse_yaml(encoded, "x.yaml").problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("1.0e-3", 0.001),
        (".5", 0.5),
        ("0.05", 0.05),
        ("neck", "neck"),
        ("'no'", "no"),
        ('"1e3"', "1e3"),
        ("'010'", "010"),
        ("1.2.3", "1.2.3"),
        ("e3", "e3"),
        ("a:b", "a:b"),
        ("'2024-05-01'", "2024-05-01"),
        ("|\n  no\n", "no\n"),
    ],
)
def test_a_scalar_that_all_readers_agree_on_has_its_value(written: str, value: object) -> None:
    found = tree(f"key: {written}").plain()["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "written",
    ["yes", "No", "ON", "off", "y", "N", "1e3", "1.5e3", "1e-3", "0x1F", "0o17", "010", "1_000"]
    + ["0b1", "1:30", "1:30.5", ".inf", "-.INF", ".nan", "2024-05-01", "=", "1.0e+999", "9" * 5000],
)
def test_a_scalar_that_readers_disagree_on_is_refused_with_a_hint_to_quote(written: str) -> None:
    (problem,) = problems(f"a: 1\nkey: {written}")
    assert problem.startswith("x.yaml:2: key: '")
    assert "put it in quotes" in problem
    assert not problems(f"key: '{written}'")


def test_the_number_that_was_meant_is_proposed() -> None:
    assert "write 1.0e+3, or" in problems("key: 1e3")[0]
    assert "write -2.5e+7, or" in problems("key: -2.5E7")[0]


@pytest.mark.parametrize("key", ["on", "no", "2", "010", "1e3", "true", "null"])
def test_a_key_is_the_text_that_was_written(key: str) -> None:
    assert tree(f"{key}: 1").plain() == {key: 1}


def test_each_value_keeps_its_line_and_its_path() -> None:
    text = "a:\n  - b: 1\n    'c.d':\n      2\n  - {e: [3,\n      4]}\n"
    places = {path_text(steps): str(node.place) for steps, node in tree(text).walk()}
    assert places == {
        "": "x.yaml:1",
        "a": "x.yaml:1: a",
        "a[0]": "x.yaml:2: a[0]",
        "a[0].b": "x.yaml:2: a[0].b",
        "a[0]['c.d']": "x.yaml:3: a[0]['c.d']",
        "a[1]": "x.yaml:5: a[1]",
        "a[1].e": "x.yaml:5: a[1].e",
        "a[1].e[0]": "x.yaml:5: a[1].e[0]",
        "a[1].e[1]": "x.yaml:6: a[1].e[1]",
    }


def test_all_refused_values_are_told_at_once_and_in_order() -> None:
    found = problems("a: yes\nb: [1, 010]\na: 2\nc: !!int 3\n")
    assert [problem.split(": ")[:2] for problem in found] == [
        ["x.yaml:1", "a"],
        ["x.yaml:2", "b[1]"],
        ["x.yaml:3", "a"],
        ["x.yaml:4", "c"],
    ]


def test_an_alias_stands_for_its_value() -> None:
    assert tree("a: &x [1]\nb: *x").plain() == {"a": [1], "b": [1]}


def test_aliases_are_counted_where_they_are_expanded() -> None:
    assert not problems("a: &x 1\nb: [" + "*x, " * MAX_ALIASES + "]")
    assert "too many aliases" in problems("a: &x 1\nb: [" + "*x, " * (MAX_ALIASES + 1) + "]")[0]


def test_a_value_that_holds_itself_is_refused() -> None:
    assert "contains the alias itself" in problems("a: &x {b: *x}")[0]


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5000])
def test_deep_nesting_is_refused_without_exhausting_the_stack(depth: int) -> None:
    assert "nested too deeply" in problems("a: " + "[" * depth + "]" * depth)[0]


def test_nesting_up_to_the_limit_is_read() -> None:
    assert tree("a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_aliases_cannot_nest_deeper_than_brackets() -> None:
    lines = ["a0: &a0 [[[[[[[[1]]]]]]]]"]
    lines += [f"a{i}: &a{i} [[[[[[[[*a{i - 1}]]]]]]]]" for i in range(1, 6)]
    assert "nested too deeply" in problems("\n".join(lines))[0]


def test_a_file_that_is_too_big_is_refused() -> None:
    assert "is too large" in problems(b"#" * (MAX_BYTES + 1))[0]


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    parsed = parse_yaml(b"\xef\xbb\xbfkey: 1", "x.yaml")
    assert parsed.root is not None and parsed.root.plain() == {"key": 1}


def test_a_refused_scalar_stands_in_the_tree_as_its_text() -> None:
    root = parse_yaml(b"key: no", "x.yaml").root
    assert root is not None and root.plain() == {"key": "no"}


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    assert str(read_yaml(tmp_path / "none", "x").problems[0]) == "x: there is no such file"
    assert str(read_yaml(tmp_path, "x").problems[0]) == "x: cannot be read: Is a directory"


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8")))
def test_any_bytes_give_a_tree_or_a_problem(data: bytes) -> None:
    parsed = parse_yaml(data, "x.yaml")
    assert parsed.root is not None or parsed.problems


FRAGMENTS = st.sampled_from(
    ["a", "b", ":", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "&a ", "*a", "!!int ", "!"]
    + ["'", '"', "\\U", "FFFFFFFF", "|", ">", "%YAML 1.1\n", "---\n", "?", "#", "\t", "1e3", "<<"]
)


@given(st.lists(FRAGMENTS, max_size=25).map("".join))
def test_any_piece_of_yaml_gives_a_tree_or_a_problem(text: str) -> None:
    parsed = parse_yaml(text.encode(), "x.yaml")
    assert parsed.root is not None or parsed.problems
    for problem in parsed.problems:
        assert "\n" not in str(problem)
