"""A stack of modules is divided into groups of consecutive ones."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from partition_core.base.errors import CutError
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.marks import MarkTable
from partition_core.graph.module_paths import pattern_of
from partition_core.graph.structural_marks import structural_marks
from partition_core.recipe.values import LayerCut
from tests.cutting.structures import Weights, parsed, written

STACK = """
    [/embed/Gather] e = Gather(table, ids) [/Not] m = Not(mask)
    [/layers.0/proj/MatMul] p0 = MatMul(e, w0) [/layers.0/Where] q0 = Where(m, p0, k0)
    [/Add] r0 = Add(e, q0)
    [/layers.1/proj/MatMul] p1 = MatMul(r0, w1) [/layers.1/Where] q1 = Where(m, p1, k1)
    [/Add_1] r1 = Add(r0, q1)
    [/layers.2/proj/MatMul] p2 = MatMul(r1, w2) [/layers.2/Where] q2 = Where(m, p2, k2)
    [/Add_2] r2 = Add(r1, q2)
    [/layers.3/proj/MatMul] p3 = MatMul(r2, w3) [/layers.3/Where] q3 = Where(m, p3, k3)
    [/Add_3] r3 = Add(r2, q3)
    [/head/Transpose] t = Transpose(table) [/head/MatMul] y = MatMul(r3, t)
"""
"""Four residual layers that read one mask and a cache each; the head's weights are the table's."""

INPUTS = "int64[2] ids, bool[2,4] mask, " + ", ".join(f"float[2,4] k{n}" for n in range(4))
OUTPUTS = "float[2,9] y, " + ", ".join(f"float[2,4] q{n}" for n in range(4))
WEIGHTS: Weights = {"table": (9, 4), **{f"w{n}": (4, 4) for n in range(4)}}


_NAMES = re.compile(r"\[(/[^\]]*)\]")


def named(nodes: str, weights: Weights, *signature: str) -> onnx.ModelProto:
    """Return the model of the text `nodes`, in which the name of each node is before it."""
    model = parsed(_NAMES.sub("", nodes), weights, *signature)
    names = _NAMES.findall(nodes)
    assert not names or len(names) == len(model.graph.node)
    for node, name in zip(model.graph.node, names, strict=False):
        node.name = name
    return model


def stack() -> onnx.ModelProto:
    """Return the four layers."""
    return named(STACK, WEIGHTS, INPUTS, OUTPUTS)


def marks(model: onnx.ModelProto, folder: Path, cut: LayerCut) -> MarkTable:
    """Return the marks of the parts."""
    return structural_marks(read_model(written(model, folder)), cut, is_file=True)


def crossing(model: onnx.ModelProto, folder: Path, cut: LayerCut) -> list[tuple[str, str]]:
    """Return the names of what each part reads and gives."""
    table = marks(model, folder, cut)
    parts = dict.fromkeys(t.mark for t in table.tensors if t.mark != "model")
    return [
        tuple(
            " ".join(t.name for t in table.tensors if (t.mark, t.side) == (part, side))
            for side in ("input", "output")
        )
        for part in parts
    ]


def test_groups_have_what_only_they_read_and_give(tmp_path: Path) -> None:
    assert crossing(stack(), tmp_path, LayerCut(("layers.*",), 4)) == [
        ("ids mask k0", "m q0 r0"),
        ("k1 m r0", "q1 r1"),
        ("k2 m r1", "q2 r2"),
        ("k3 m r2", "q3 y"),
    ]


def test_modules_to_start_at_are_named_one_by_one(tmp_path: Path) -> None:
    assert crossing(stack(), tmp_path, LayerCut(at=("layers.1", "layers.3"))) == [
        ("ids mask k0", "m q0 r0"),
        ("k1 k2 m r0", "q1 q2 r2"),
        ("k3 m r2", "q3 y"),
    ]


def lopsided(sizes: list[int]) -> onnx.ModelProto:
    """Return layers whose weights are matrices between these sizes."""
    pairs = list(itertools.pairwise(sizes))
    nodes = " ".join(f"[/b.{n}/MatMul] x{n + 1} = MatMul(x{n}, w{n})" for n in range(len(pairs)))
    return named(
        nodes,
        {f"w{n}": pair for n, pair in enumerate(pairs)},
        f"float[1,{sizes[0]}] x0",
        f"float[1,{sizes[-1]}] x{len(pairs)}",
    )


@pytest.mark.parametrize(
    ("sizes", "groups", "expected"),
    [
        ([8, 8, 8, 8, 8], 2, ["x2"]),
        ([40, 40, 4, 4, 4, 4], 2, ["x1"]),
        ([4, 4, 4, 40, 40], 2, ["x3"]),
        ([8, 8, 8, 8, 8, 8, 8], 4, ["x1", "x2", "x4"]),
    ],
)
def test_groups_are_about_equal_by_their_weights(
    sizes: list[int], groups: int, expected: list[str], tmp_path: Path
) -> None:
    parts = crossing(lopsided(sizes), tmp_path, LayerCut(("b.*",), groups))
    assert [made for _, made in parts[:-1]] == expected


def test_groups_are_about_equal_by_their_operations_if_a_recipe_says_so(tmp_path: Path) -> None:
    # A convolution on large maps costs operations, and on small maps weights.
    nodes = (
        "[/b.0/Conv] c0 = Conv(x, w0) [/b.1/Conv] c1 = Conv<strides=[4,4]>(c0, w1) "
        "[/b.2/Conv] c2 = Conv(c1, w2) [/b.3/Conv] y = Conv(c2, w3)"
    )
    weights: Weights = {"w0": (16, 3, 3, 3), "w1": (8, 16, 4, 4), "w2": (64, 8, 1, 1)}
    model = named(nodes, {**weights, "w3": (64, 64, 1, 1)}, "float[1,3,64,64] x", "float[N] y")
    by_weights = crossing(model, tmp_path, LayerCut(("b.*",), 2))
    by_operations = crossing(model, tmp_path, LayerCut(("b.*",), 2, "flops"))
    assert (by_weights[0][1], by_operations[0][1]) == ("c2", "c0")


def test_a_path_in_the_metadata_comes_before_the_name_of_a_node(tmp_path: Path) -> None:
    model = lopsided([4, 4, 4, 4])
    for number, node in enumerate(model.graph.node):
        node.name = f"/b.0/MatMul_{number}"
        scopes = f"['', 'net', 'net.deep.{number}', 'linear_{number}']"
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    assert [made for _, made in crossing(model, tmp_path, LayerCut(at=("net.deep.2",)))] == [
        "x2",
        "x3",
    ]


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("b.*", {"b.0": "b.0", "b.0.c": "b.0", "b.10": "b.10"}),
        ("*.*", {"b.0": "b.0", "b.0.c": "b.0", "b.10": "b.10", "d.0": "d.0"}),
        ("**.c", {"b.0.c": "b.0.c"}),
        ("b.1*", {"b.10": "b.10"}),
        ("b", {"b": "b", "b.0": "b", "b.0.c": "b", "b.10": "b"}),
    ],
)
def test_a_star_is_one_name_and_two_are_any_number(pattern: str, fitting: dict[str, str]) -> None:
    paths = ["b", "b.0", "b.0.c", "b.10", "d.0", "bb"]
    matches = {path: pattern_of(pattern).match(path) for path in paths}
    assert {path: match[1] for path, match in matches.items() if match} == fitting


def test_two_stacks_are_one_behind_the_other(tmp_path: Path) -> None:
    nodes = (
        "[/enc/b.0/MatMul] a = MatMul(x, w0) [/enc/b.1/MatMul] c = MatMul(a, w1) "
        "[/dec/Mul] s = Mul(start, two) [/dec/b.0/MatMul] d = MatMul(s, w2) "
        "[/dec/b.0/Add] e = Add(d, c) [/dec/b.1/MatMul] y = MatMul(e, w3)"
    )
    weights: Weights = {f"w{n}": (4, 4) for n in range(4)} | {"two": np.float32(2)}
    model = named(nodes, weights, "float[1,4] x, float[1,4] start", "float[1,4] y")
    assert crossing(model, tmp_path, LayerCut(("*.b.*",), 2)) == [("x", "c"), ("start c", "y")]


def test_what_is_read_for_its_size_crosses_as_its_size(tmp_path: Path) -> None:
    nodes = (
        "[/b.0/MatMul] a = MatMul(x, w0) [/b.0/Relu] r = Relu(a) [/b.1/MatMul] c = MatMul(r, w1) "
        "[/b.1/Shape] n = Shape(a) [/b.1/Reshape] d = Reshape(c, n) [/b.1/Shape_1] s = Shape(x) "
        "[/b.1/Reshape_1] y = Reshape(d, s)"
    )
    model = named(nodes, {"w0": (4, 4), "w1": (4, 4)}, "float[m,4] x", "float[m,4] y")
    assert crossing(model, tmp_path, LayerCut(("b.*",), 2)) == [("x", "r n"), ("r n", "y")]


REFUSED: dict[str, tuple[str, LayerCut, str]] = {
    "a pattern that nothing fits": (
        STACK,
        LayerCut(("layer.*",), 2),
        "partition.segments.every: no module of the model fits 'layer.*'; expected one of "
        "'layers.* (4 modules)'; did you mean 'layers.*'?",
    ),
    "no module has a number": (
        "y = Relu(x)",
        LayerCut(("b.*",), 2),
        "partition.segments.every: no module of the model fits 'b.*'; no node says that it comes "
        "from a module with a number; cut between tensors instead: `doit tensors`",
    ),
    "more groups than modules": (
        STACK,
        LayerCut(("layers.*",), 5),
        "partition.segments.groups: the model has 4 modules for 5 groups; they are 'layers.0', "
        "'layers.1', 'layers.2', 'layers.3'; ask for fewer groups",
    ),
    "an unknown module": (
        STACK,
        LayerCut(at=("layers.1", "layers.33")),
        "partition.segments.at[1]: the model has no module 'layers.33'; did you mean 'layers.3'?",
    ),
    "modules in another order": (
        STACK,
        LayerCut(at=("layers.2", "layers.1")),
        "partition.segments.at[1]: 'layers.1' runs before 'layers.2'; sort them",
    ),
    "a module that an earlier group reads": (
        "[/b.0/MatMul] a = MatMul(x, w) [/b.1/MatMul] c = MatMul(a, w) "
        "[/b.0/MatMul_1] y = MatMul(c, w)",
        LayerCut(("b.*",), 2),
        "partition.segments: MatMul of module 'b.0' reads what MatMul of module 'b.1' gives; "
        "expected modules that run one after the other: a later group would feed this; cut "
        "elsewhere",
    ),
    "a group with nothing in it": (
        "[/b.0/MatMul] a = MatMul(x, w) [/b.1/MatMul] y = MatMul(a, w)",
        LayerCut(at=("b.0",)),
        "partition.segments: part 0 has no operators; leave out the module that it would start "
        "before",
    ),
    "operations that nothing says": (
        "[/b.0/Other] a = other.Linear(x, w) [/b.1/Other] y = other.Linear(a, w)",
        LayerCut(("b.*",), 2, "flops"),
        "partition.segments.balance: the operations of Linear are not known from the dims in the "
        "model; write 'balance: weights'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_stack_is_refused(case: str, tmp_path: Path) -> None:
    nodes, cut, message = REFUSED[case]
    model = stack() if nodes is STACK else named(nodes, {"w": (8, 8)})
    with pytest.raises(CutError) as refused:
        marks(model, tmp_path, cut)
    assert str(refused.value) == message
