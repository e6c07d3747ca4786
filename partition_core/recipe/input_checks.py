"""The checks of the ranges and values of a model's inputs, as a table; opens no file."""

from __future__ import annotations

from collections.abc import Iterator

from partition_core.base.errors import Problem
from partition_core.recipe.draft import Check, Draft
from partition_core.recipe.from_plain import DEFAULT_DTYPE
from partition_core.recipe.input_forms import (
    ALL_FIXED,
    DRAWN,
    NO_RANGE_OF_BOOL,
    elements_text,
    is_element,
)
from partition_core.recipe.yaml_tree import Node


def _values_of_a_detector(draft: Draft) -> Iterator[Problem]:
    if draft.source != "mmdet":
        return
    for tensor in draft.inputs():
        for node in filter(None, map(tensor.get, ("range", "value"))):
            expected = "an mmdet model is proven on the pictures in 'proof.images'"
            yield Problem(node.place, "has no meaning here", expected, "remove it")


def _input_values(draft: Draft) -> Iterator[Problem]:
    if draft.source == "mmdet":
        return
    for tensor in draft.inputs():
        span, value = tensor.get("range"), tensor.get("value")
        dtype = None if draft.is_onnx else _dtype(tensor)
        if span is not None and value is not None:
            what = "the keys 'range' and 'value' exclude each other"
            remedy = "remove one, or write 'range: null' to remove an inherited one"
            yield Problem(value.place, what, "expected at most one of them", remedy)
        elif value is not None and dtype is not None:
            yield from _element_problems(value, dtype)
        if span is not None:
            yield from _range_problems(span, dtype)


def _range_problems(span: Node, dtype: str | None) -> Iterator[Problem]:
    ends = [item.value for item in span.items if isinstance(item.value, int | float)]
    if len(span.items) != 2 or len(ends) != 2 or any(isinstance(end, bool) for end in ends):
        return  # the schema refuses it
    if dtype == "bool":
        yield Problem(span.place, *NO_RANGE_OF_BOOL)
        return
    low, high = ends
    expected = "expected the minimum and then the maximum"
    if low == high:
        yield Problem(span.place, f"both ends are {low}", expected, f"write 'value: {low}'")
    elif low > high:
        what, remedy = f"{high} is less than {low}", f"write [{high}, {low}]"
        yield Problem(span.place, what, expected, remedy)
    if dtype is not None:
        for item in span.items:
            yield from _element_problems(item, dtype)


def _element_problems(node: Node, dtype: str) -> Iterator[Problem]:
    number = node.value
    if isinstance(number, bool | int | float) and not is_element(dtype, number):
        what = f"{str(number).lower()} is not a valid {dtype}"
        yield Problem(node.place, what, f"expected {elements_text(dtype)}")


def _fixed_inputs(draft: Draft) -> Iterator[Problem]:
    inputs = draft.tree.get("export", "inputs")
    if draft.source != "torch" or inputs is None or draft.tree.get("proof", "inputs") is not None:
        return
    if inputs.entries and all(tensor.get("value") for tensor in inputs.entries.values()):
        yield Problem(inputs.place, *ALL_FIXED)


def _dtype(tensor: Node) -> str | None:
    node = tensor.get("dtype")
    dtype = DEFAULT_DTYPE if node is None else node.text
    return dtype if dtype in DRAWN else None


INPUT_CHECKS: tuple[Check, ...] = (_values_of_a_detector, _input_values, _fixed_inputs)
