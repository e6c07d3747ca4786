"""Finding Mark nodes and resolving references to them."""

from __future__ import annotations

import pytest

from partition_core.base.errors import CutError, Problem
from partition_core.graph.marks import MarkedTensor, MarkTable, marks_of, unmarked_value
from partition_core.recipe.mark_reference import MarkReference, parse_reference
from tests.cutting.support import model_of

TWO_CALLS = """
<ir_version: 10, opset_import: ["": 20, "partition": 1]>
two_calls (float[1,2] image) => (float[1,2] out) {
  seen = partition.Mark <func="net", func_id=0, type="input", name="input", id=0,
                         dtype=1, shape=[1,2]> (image)
  a = Relu(seen)
  b = Neg(seen)
  b1 = partition.Mark <func="head", func_id=0, type="input", name="maps.1", id=1,
                       dtype=1, shape=[1,2]> (b)
  a1 = partition.Mark <func="head", func_id=0, type="input", name="maps.0", id=0,
                       dtype=1, shape=[-1,2]> (a)
  c = Add(a1, b1)
  c1 = partition.Mark <func="head", func_id=1, type="input", name="maps.0", id=0> (c)
  d = Exp(c1)
  d1 = partition.Mark <func="head", func_id=1, type="output", name="output", id=0> (d)
  out = partition.Mark <func="net", func_id=0, type="output", name="out", id=0> (d1)
}
<domain: "partition", opset_import: ["": 20]>
Mark <func, func_id, type, name, id, dtype, shape> (x) => (y) { y = Identity(x) }
"""

IN_A_BODY = """
<ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>
in_a_body (bool c, float[2] x) => (float[2] y) {
  [branch] y = If (c) <
    then_branch = yes () => (float[2] t) {
      m = mmdeploy.Mark <func="inner", func_id=0, type="input", name="x", id=0> (x)
      t = Relu(m)
    },
    else_branch = no () => (float[2] e) { e = Neg(x) }
  >
}
"""


def reference(text: str) -> MarkReference:
    found = parse_reference(text)
    if found is None:
        pytest.fail(f"'{text}' is no reference")
    return found


def resolve(table: MarkTable, *references: str) -> list[MarkedTensor]:
    chosen: list[MarkedTensor] = []
    problems: list[Problem] = []
    for index, item in enumerate(references):
        tensors = table.select(reference(item), f"partition.segments[0].start[{index}]")
        if isinstance(tensors, Problem):
            problems.append(tensors)
        else:
            chosen.extend(tensors)
    CutError.refuse(problems)
    return chosen


def message_of(text: str, *references: str) -> str:
    table = marks_of(model_of(text))
    with pytest.raises(CutError) as caught:
        resolve(table, *references)
    return str(caught.value)


def test_a_mark_node_becomes_one_value_with_all_that_the_node_says() -> None:
    model = model_of(TWO_CALLS)
    found = marks_of(model).tensors
    assert [str(item) for item in found] == [
        "net:input.input",
        "head:input.maps.1",
        "head:input.maps.0",
        "head[1]:input.maps.0",
        "head[1]:output.output",
        "net:output.out",
    ]
    maps = found[2]
    assert (maps.name, maps.order, maps.dtype, maps.shape) == ("maps.0", 0, 1, (-1, 2))
    assert maps.value.name == "a"
    assert (found[3].dtype, found[3].shape) == (None, None)


def test_a_chain_of_marks_is_an_alias_of_its_first_value() -> None:
    model = model_of(TWO_CALLS)
    assert unmarked_value(model.graph.outputs[0]).name == "d"
    assert [item.value.name for item in marks_of(model).tensors[-2:]] == ["d", "d"]


def test_a_reference_selects_by_id_and_references_keep_their_order() -> None:
    table = marks_of(model_of(TWO_CALLS))
    chosen = resolve(table, "net:output", "head:input")
    assert [item.name for item in chosen] == ["out", "maps.0", "maps.1"]


def test_a_path_selects_the_tensors_below_it_and_no_prefix_of_a_word() -> None:
    table = marks_of(model_of(TWO_CALLS))
    both = resolve(table, "head:input.maps")
    assert [item.name for item in both] == ["maps.0", "maps.1"]
    one = resolve(table, "head:input.maps.1")
    assert [item.name for item in one] == ["maps.1"]
    with pytest.raises(CutError):
        resolve(table, "head:input.map")


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        (
            "haed:input",
            (
                "partition.segments[0].start[0]: the model has no mark 'haed'; "
                "expected one of 'head', 'net'; did you mean 'head'?"
            ),
        ),
        (
            "head[2]:input",
            (
                "partition.segments[0].start[0]: mark 'head' has 2 calls, none with number 2; "
                "expected 0 or 1"
            ),
        ),
        (
            "net[1]:input",
            "partition.segments[0].start[0]: mark 'net' has 1 call, none with number 1; expected 0",
        ),
        (
            "head:output",
            (
                "partition.segments[0].start[0]: nothing at the output of mark 'head' is marked; "
                "list outputs in the mark, or refer to its input: "
                "'head:input.maps.1', 'head:input.maps.0'"
            ),
        ),
        (
            "head:input.maps.7",
            (
                "partition.segments[0].start[0]: 'head:input.maps.7' selects no tensor; "
                "expected one of 'head:input.maps.1', 'head:input.maps.0'; "
                "did you mean 'head:input.maps.1'?"
            ),
        ),
        (
            "haed:input net:input net[1]:input",
            (
                "partition.segments[0].start[0]: the model has no mark 'haed'; "
                "expected one of 'head', 'net'; did you mean 'head'?\n"
                "partition.segments[0].start[2]: mark 'net' has 1 call, none with number 1; "
                "expected 0"
            ),
        ),
    ],
)
def test_a_reference_to_nothing_is_told_with_what_there_is(references: str, expected: str) -> None:
    assert message_of(TWO_CALLS, *references.split()) == expected


def test_a_model_without_marks_is_told_so() -> None:
    text = '<ir_version: 10, opset_import: ["": 20]> g (float[1] x) => (float[1] y) {y = Relu(x)}'
    assert message_of(text, "net:input") == (
        "partition.segments[0].start[0]: the model has no mark 'net'; there is none to choose from"
    )


def test_a_mark_inside_a_body_is_found_and_refused_as_a_boundary() -> None:
    assert message_of(IN_A_BODY, "inner:input") == (
        "partition.segments[0].start[0]: 'inner:input' lies inside a body of If node 'branch'; "
        "a segment starts and ends in the main graph; mark a tensor outside it"
    )


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            'func="m", type="inputs"',
            (
                "Mark node 'bad': its attributes do not say which mark and side it belongs to; "
                "expected a name in 'func' and 'input' or 'output' in 'type'"
            ),
        ),
        (
            'func=3, type="input"',
            (
                "Mark node 'bad': its attributes do not say which mark and side it belongs to; "
                "expected a name in 'func' and 'input' or 'output' in 'type'"
            ),
        ),
        (
            'func="m", type="input", dtype=99',
            "Mark node 'bad': its attribute 'dtype' is 99; expected an ONNX data type",
        ),
    ],
)
def test_a_malformed_mark_node_is_an_error_and_not_a_guess(attributes: str, expected: str) -> None:
    text = f"""
    <ir_version: 10, opset_import: ["": 20, "mmdeploy": 1]>
    g (float[1] x) => (float[1] y) {{ [bad] y = mmdeploy.Mark <{attributes}> (x) }}
    """
    with pytest.raises(CutError) as caught:
        marks_of(model_of(text))
    assert str(caught.value) == expected
