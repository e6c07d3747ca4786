"""Where a model draws random numbers: operators, bodies, functions, and dropout that trains."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from partition_core.graph.file.graph_reader import read_model
from partition_core.proof.random_operators import random_operators, unseeded

HEAD = '<ir_version: 10, opset_import: ["": 20, "own": 1]>\n'


def told(text: str, *initializers: onnx.TensorProto) -> list[str]:
    return [
        f"{one}{' seeded' if one.seeded else ''}"
        for one in random_operators(read_model(encoded(text, *initializers)))
    ]


def encoded(text: str, *initializers: onnx.TensorProto) -> bytes:
    model = onnx.parser.parse_model(HEAD + text)
    model.graph.initializer.extend(initializers)
    return model.SerializeToString()


def graph(body: str, inputs: str = "float[4] x") -> str:
    return f"agraph ({inputs}) => (float[4] y) {{ {body} }}"


@pytest.mark.parametrize(
    "node",
    [
        "Bernoulli (x)",
        "Multinomial (x)",
        "RandomNormal <shape = [4]> ()",
        "RandomNormalLike (x)",
        "RandomUniform <shape = [4]> ()",
        "RandomUniformLike (x)",
    ],
)
def test_each_random_operator_is_known(node: str) -> None:
    kind = node.split(maxsplit=1)[0]
    assert told(graph(f"y = {node}")) == [f"{kind} 'y'"]
    seeded = node.replace("> (", ", seed = 1.5> (") if "<" in node else node
    seeded = seeded.replace(f"{kind} (", f"{kind} <seed = 1.5> (")
    assert told(graph(f"y = {seeded}")) == [f"{kind} 'y' seeded"]


def test_an_operator_of_the_same_name_in_another_domain_is_none() -> None:
    function = '\n<domain: "own", opset_import: ["": 20]>\nBernoulli (a) => (b) { b = Abs (a) }'
    assert told(graph("y = own.Bernoulli (x)") + function) == []
    assert told(graph("y = other.RandomNormalLike (x)")) == []


FALSE = {
    "raw": numpy_helper.from_array(np.array(False), "t"),
    "a field": onnx.helper.make_tensor("t", onnx.TensorProto.BOOL, [], [False]),
}
TRUE = {
    "raw": numpy_helper.from_array(np.array(True), "t"),
    "a field": onnx.helper.make_tensor("t", onnx.TensorProto.BOOL, [], [True]),
}


@pytest.mark.parametrize("form", FALSE)
def test_dropout_is_random_while_it_trains(form: str) -> None:
    text = graph("r = Constant <value = float {0.5}> () y = Dropout (x, r, t)")
    assert told(text, FALSE[form]) == []
    assert told(text, TRUE[form]) == ["Dropout 'y'"]


@pytest.mark.parametrize(
    ("text", "is_random"),
    [
        (graph("y = Dropout (x)"), False),
        (graph("r = Constant <value = float {0.5}> () y = Dropout (x, r)"), False),
        (graph("t = Constant <value = bool {0}> () y = Dropout (x, , t)"), False),
        (graph("t = Constant <value = bool {1}> () y = Dropout (x, , t)"), True),
        (graph("y = Dropout (x, , t)", "float[4] x, bool t"), True),
        (graph("t = Not (f) y = Dropout (x, , t)", "float[4] x, bool f"), True),
    ],
)
def test_dropout_is_random_unless_a_constant_says_no(text: str, is_random: bool) -> None:
    assert told(text) == (["Dropout 'y'"] if is_random else [])


def test_bodies_at_any_depth_are_looked_into() -> None:
    inner = "If (c) <then_branch = g3 () => (t) { t = RandomNormalLike (x) }, else_branch = g4 () "
    inner += "=> (u) { u = Abs (x) }>"
    text = graph(
        f"y = If (c) <then_branch = g1 () => (v) {{ v = {inner} }}, else_branch = g2 () => (w) "
        "{ w = Bernoulli <seed = 1.0> (x) }>",
        "float[4] x, bool c",
    )
    assert told(text) == ["RandomNormalLike 't' in If 'v'", "Bernoulli 'w' in If 'y' seeded"]


def test_loops_are_looked_into() -> None:
    text = graph(
        "y = Loop (n, , x) <body = g (int64 i, bool k, float[4] a) => (bool k2, float[4] b) "
        "{ k2 = Identity (k) b = RandomUniformLike (a) }>",
        "float[4] x, int64 n",
    )
    assert told(text) == ["RandomUniformLike 'b' in Loop 'y'"]


FUNCTIONS = """
<domain: "own", opset_import: ["": 20, "own": 1]>
outer (a) => (b) { c = own.inner (a) d = own.inner (c) b = Abs (d) }
<domain: "own", opset_import: ["": 20]>
inner (a) => (b) { b = RandomNormalLike (a) }
<domain: "own", opset_import: ["": 20]>
chosen <seed> (a) => (b) { b = RandomNormalLike <seed: float = @seed> (a) }
"""


def test_functions_are_looked_into_wherever_they_are_called() -> None:
    assert told(graph("y = own.outer (x)") + FUNCTIONS) == [
        "RandomNormalLike 'b' in function 'own.inner'"
    ]
    assert told(graph("y = Abs (x)") + FUNCTIONS) == []


def test_a_seed_that_a_caller_may_leave_out_is_none() -> None:
    assert told(graph("y = own.chosen (x)") + FUNCTIONS) == [
        "RandomNormalLike 'b' in function 'own.chosen'"
    ]


def test_only_operators_in_front_of_a_tensor_draw_for_it() -> None:
    text = """
agraph (float[4] x, bool c) => (float[4] y, float[4] z, float[4] v) {
  a = RandomNormalLike (x)
  b = RandomUniformLike <seed = 2.0> (x)
  y = Add (a, b)
  z = Abs (b)
  v = If (c) <then_branch = g1 () => (t) { t = Abs (a) }, else_branch = g2 () => (u)
    { u = Abs (x) }>
}
"""
    model = read_model(encoded(text))
    found = random_operators(model)
    names = {one.name: unseeded(model, found, [one]) for one in model.graph.outputs}
    assert names == {"y": ["RandomNormalLike 'a'"], "z": [], "v": ["RandomNormalLike 'a'"]}
