"""What nodes cost, against figures that are worked out by hand."""

from __future__ import annotations

import pytest

from partition_core.graph.costs import flops_of, tensor_bytes, total, types_of, weights_of

from .support import model_of


def cost(
    body: str, inputs: str, sizes: dict[str, int] | None = None
) -> tuple[int | None, int | None]:
    """Return the operations and bytes of the node that makes `end`, whose type is inferred."""
    model = model_of(
        f'<ir_version: 10, opset_import: ["": 20]> '
        f"g ({inputs}) => (int64 size) {{ {body} size = Size(end) }}"
    )
    node, type_in = model.graph.nodes[-2], types_of(model)
    size = total(tensor_bytes(type_in(value), sizes or {}) for value in node.outputs)
    return flops_of(node, type_in, sizes or {}), size


# Each with the operations and the bytes that a person counts.
COUNTED = {
    "a convolution with bias: 2*3*3*3 + 1 for each of 8*16*16": (
        "end = Conv<pads=[1,1,1,1]>(x, w, b)",
        "float[1,3,16,16] x, float[8,3,3,3] w, float[8] b",
        8 * 16 * 16 * (2 * 27 + 1),
        4 * 8 * 16 * 16,
    ),
    "a depthwise convolution reads one channel": (
        "end = Conv<group=8, pads=[1,1,1,1]>(x, w)",
        "float[1,8,16,16] x, float[8,1,3,3] w",
        8 * 16 * 16 * 2 * 9,
        4 * 8 * 16 * 16,
    ),
    "a transposed convolution works for each number that it reads": (
        "end = ConvTranspose<strides=[2,2]>(x, w)",
        "float[1,4,5,5] x, float[4,6,2,2] w",
        4 * 25 * 2 * 6 * 4,
        4 * 6 * 100,
    ),
    "a product of stacks of matrices": (
        "end = MatMul(x, w)",
        "float[7,5,3] x, float[7,3,2] w",
        2 * 7 * 5 * 3 * 2,
        4 * 7 * 5 * 2,
    ),
    "a product with a transposed matrix and a bias": (
        "end = Gemm<transA=1, transB=1>(x, w, b)",
        "float[3,5] x, float[2,3] w, float[2] b",
        5 * 2 * (2 * 3 + 1),
        4 * 10,
    ),
    "a sum over letters": (
        'end = Einsum<equation="bij,bjk->bik">(x, w)',
        "float[2,3,4] x, float[2,4,5] w",
        2 * 2 * 3 * 4 * 5,
        4 * 2 * 3 * 5,
    ),
    "one for each number that is made": ("end = Sigmoid(x)", "float[2,3] x", 6, 24),
    "halves take two bytes": ("end = Sigmoid(x)", "float16[2,3] x", 6, 12),
    "a sum over an axis works for each number that it reads": (
        "axes = Constant<value_ints=[1]>() end = ReduceSum<keepdims=0>(x, axes)",
        "float[4,6] x",
        24,
        16,
    ),
    "numbers that are moved": ("end = Transpose(x)", "float[2,3] x", 0, 24),
    "whole numbers": ("end = Add(x, x)", "int64[5] x", 0, 40),
}


@pytest.mark.parametrize("case", COUNTED)
def test_a_node_costs_what_a_person_counts(case: str) -> None:
    body, inputs, flops, size = COUNTED[case]
    assert cost(body, inputs) == (flops, size)


def test_a_symbolic_dim_is_unknown_until_someone_says_what_it_stands_for() -> None:
    assert cost("end = Exp(x)", "float[rows,4] x") == (None, None)
    assert cost("end = Exp(x)", "float[rows,4] x", {"rows": 9}) == (36, 144)


def test_an_operator_without_a_rule_is_unknown_and_not_free() -> None:
    flops, _ = cost("y = Relu(x) end = NonMaxSuppression(y, x)", "float[1,2,4] x")
    assert flops is None
    assert total([1, flops, 2]) is None


def test_weights_count_once_and_shapes_do_not() -> None:
    model = model_of(
        '<ir_version: 10, opset_import: ["": 20]> g (float[2,3] x) => (float[3,2] y) '
        "<float16[2] w = {1, 2}, float[3] v = {1, 2, 3}, int64[2] shape = {3, 2}> "
        "{ a = Add(x, v) b = Mul(a, v) y = Reshape(b, shape) }"
    )
    reads = [value for node in model.graph for value in node.inputs if value is not None]
    found = weights_of([*reads, *model.graph.initializers])
    assert (found.count, found.size) == (5, 16)
