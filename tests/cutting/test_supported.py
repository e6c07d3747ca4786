"""A list of operators divides a model into parts that a runtime supports, and the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from partition_core.base.errors import CutError
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.supported import Division, divided
from partition_core.recipe.operators import TOOLCHAINS, read_operators
from partition_core.recipe.values import OperatorCut, OperatorLimits
from tests.cutting.structures import Weights, parsed, written

ALL = ("Conv", "Reshape", "Sigmoid", "Mul", "Relu", "Transpose", "Concat")


def by(*operators: str, **limited: OperatorLimits) -> OperatorCut:
    """Return a list of operators, some with limits."""
    return OperatorCut(tuple({**dict.fromkeys(operators, OperatorLimits()), **limited}.items()))


def division(model: onnx.ModelProto, folder: Path, cut: OperatorCut) -> Division:
    """Return how a list divides a model."""
    return divided(read_model(written(model, folder)), cut)


def parts(model: onnx.ModelProto, folder: Path, cut: OperatorCut) -> dict[str, str]:
    """Return what the nodes of each part give, by the name of the part."""
    result = division(model, folder, cut)
    return {
        name: " ".join(
            node.outputs[0].name for node, part in result.parts.items() if part == number
        )
        for number, name in enumerate(result.names)
    }


W: Weights = {
    "w": (4, 3, 1, 1),
    "v": (4, 4, 1, 1),
    "k": np.array([2]),
    "flat": np.array([1, -1]),
    "two": np.float32(2),
}
CASES: dict[str, tuple[str, dict[str, str]]] = {
    "all of it": ("a = Conv(x, w) y = Sigmoid(a)", {"supported": "a y"}),
    "a tail": (
        "a = Conv(x, w) r = Reshape(a, flat) t, i = TopK(r, k) s = Sigmoid(t) y = Mul(s, two)",
        {"supported": "a r", "rest": "t s y"},
    ),
    "a branch that ends early": (
        "a = Conv(x, w) m = Mish(a) s = Sigmoid(a) y = Mul(m, s)",
        {"supported": "a s", "rest": "m y"},
    ),
    "weights behind what is not supported": (
        "a = Conv(x, w) m = Mish(a) b = Conv(m, v) y = Mish(b)",
        {"supported": "a", "rest": "m", "supported_2": "b", "rest_2": "y"},
    ),
    "weights that are not supported either": (
        "a = Conv(x, w) m = Mish(a) g = ConvTranspose(m, v) y = Relu(g)",
        {"supported": "a", "rest": "m g y"},
    ),
    "what is not supported comes first": (
        "t = Transpose<perm=[0,1,3,2]>(x) m = Mish(t) a = Conv(m, w) y = Sigmoid(a)",
        {"rest": "t m", "supported": "a y"},
    ),
    "two ways of other lengths": (
        "a = Conv(x, w) m = Mish(a) b = Conv(m, v) c = Conv(a, v) n = Mish(c) "
        "y = Concat<axis=1>(b, n)",
        {"supported": "a c", "rest": "m n", "supported_2": "b y"},
    ),
    "constants are in no part": (
        "z = Mish(two) a = Conv(x, w) y = Mul(a, z)",
        {"supported": "a y"},
    ),
    "nothing has weights": (
        "a = Relu(x) m = Mish(a) y = Sigmoid(m)",
        {"supported": "a", "rest": "m y"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_parts_are_as_few_as_can_be(case: str, tmp_path: Path) -> None:
    nodes, expected = CASES[case]
    assert parts(parsed(nodes, W), tmp_path, by(*ALL)) == expected


LIMITS: dict[str, tuple[OperatorLimits, str, str | None]] = {
    "an attribute": (
        OperatorLimits(attributes=(("mode", '["nearest"]'),)),
        'y = Resize<mode="linear">(a, , two4)',
        "Resize: its attribute 'mode' is \"linear\"",
    ),
    "an attribute that is allowed": (
        OperatorLimits(attributes=(("mode", '["linear"]'),)),
        'y = Resize<mode="linear">(a, , two4)',
        None,
    ),
    "an attribute that is left out": (
        OperatorLimits(attributes=(("mode", '["linear"]'),)),
        "y = Resize(a, , two4)",
        "Resize: its attribute 'mode' is \"nearest\"",
    ),
    "the default of an attribute": (
        OperatorLimits(attributes=(("antialias", "[0]"),)),
        "y = Resize(a, , two4)",
        None,
    ),
    "numbers of an attribute": (
        OperatorLimits(attributes=(("axes", "[[2,3]]"),)),
        "y = Resize<axes=[3,2]>(a, , two2)",
        "Resize: its attribute 'axes' is [3, 2]",
    ),
    "a dtype": (
        OperatorLimits(dtypes=("float16",)),
        "y = Resize(a, , two4)",
        "Resize: the dtype of 'a' is float32",
    ),
    "a rank": (
        OperatorLimits(ranks=(2, 3)),
        "y = Resize(a, , two4)",
        "Resize: the rank of 'a' is 4",
    ),
    "a constant": (OperatorLimits(constant=(2,)), "y = Resize(a, , two4)", None),
    "a computed input": (
        OperatorLimits(constant=(2,)),
        "s = ReduceSum<keepdims=0>(x) t = Unsqueeze(s, zero) f = Expand(t, four) "
        "y = Resize(a, , f)",
        "Resize: its input 2 is not constant",
    ),
    "an opset": (
        OperatorLimits(opset=(11, 19)),
        "y = Resize(a, , two4)",
        "Resize: its opset is 20",
    ),
    "an opset that fits": (OperatorLimits(opset=(11, 20)), "y = Resize(a, , two4)", None),
}


@pytest.mark.parametrize("case", LIMITS)
def test_a_limit_decides_with_its_reason(case: str, tmp_path: Path) -> None:
    limits, nodes, reason = LIMITS[case]
    constants: Weights = {
        "w": (4, 3, 1, 1),
        "two4": np.array([1, 1, 2, 2], np.float32),
        "two2": np.array([2, 2], np.float32),
        "zero": np.array([0]),
        "four": np.array([4]),
    }
    model = parsed(f"a = Conv(x, w) {nodes}", constants)
    everything = ("Conv", "ReduceSum", "Unsqueeze", "Expand")
    reasons = division(model, tmp_path, by(*everything, Resize=limits)).unsupported
    assert list(reasons.values()) == ([] if reason is None else [reason])


FUNCTION = '<domain: "other", opset_import: ["" : 20]> act (a) => (z) { s = Sigmoid(a) z = %s(s) }'


@pytest.mark.parametrize(
    ("inner", "reason"), [("Relu", None), ("Mish", "Mish, which is not in the list")]
)
def test_a_function_is_what_it_contains(inner: str, reason: str | None, tmp_path: Path) -> None:
    model = parsed("a = Conv(x, w) y = other.act(a)", W, functions=FUNCTION % inner)
    reasons = list(division(model, tmp_path, by(*ALL)).unsupported.values())
    assert reasons == ([] if reason is None else [f"other.act: it contains {reason}"])
    named = by(*ALL, **{"other.act": OperatorLimits()})
    assert not division(model, tmp_path, named).unsupported


BRANCH = (
    "a = Conv(x, w) y = If(flag) <then_branch = g () => (float[N] p) { p = Relu(a) }, "
    "else_branch = h () => (float[N] q) { q = %s(a) }>"
)


@pytest.mark.parametrize("inner", ["Sigmoid", "Mish"])
def test_a_branch_is_supported_with_all_that_is_in_it(inner: str, tmp_path: Path) -> None:
    model = parsed(BRANCH % inner, W, inputs="float[1,3,8,8] x, bool flag")
    reasons = list(division(model, tmp_path, by(*ALL, "If")).unsupported.values())
    assert reasons == (
        [] if inner == "Sigmoid" else ["If: it contains Mish, which is not in the list"]
    )


def test_a_list_without_the_weights_of_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CutError) as refused:
        division(parsed("a = Conv(x, w) y = Relu(a)", W), tmp_path, by("Relu", "MatMul"))
    assert str(refused.value) == (
        "partition.operators: no operator with weights is supported by this list; "
        "Conv is not in the list"
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in TOOLCHAINS.glob("*.yaml")))
def test_a_list_of_a_toolchain_has_operators_of_onnx(name: str) -> None:
    cut = read_operators(name, TOOLCHAINS, "here")
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    older = {"Upsample", "Scatter", "ImageScaler", "ParametricSoftplus", "ScaledTanh"}
    ours = {operator for operator, _ in cut.operators if "." not in operator}
    assert ours <= known | older
    assert {"Conv", "MatMul", "Sigmoid"} <= ours
    for operator, limits in cut.operators:
        if operator in known:
            schema = onnx.defs.get_schema(operator)
            assert {attribute for attribute, _ in limits.attributes} <= set(schema.attributes)
            assert all(number < len(schema.inputs) for number in limits.constant)
