"""The range of an integer input of an ONNX file: what its graph indexes with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.index_reads import index_ranges
from tests.cutting.chains import run
from tests.cutting.support import model_of

pytestmark = pytest.mark.usefixtures("native_code_here")

HEAD = '<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>'
SHAPES = {"ids": (2, 4)}

READS = {
    "Gather": ("y = Gather(table, ids)", (0, 19)),
    "Gather in another dim": ("y = Gather <axis: int = -1> (table, ids)", (0, 3)),
    "GatherElements": ("y = GatherElements <axis: int = 1> (square, ids)", (0, 8)),
    "GatherND": ("i = Unsqueeze(ids, last)\n y = GatherND(table, i)", (0, 19)),
    "GatherND of two dims": ("i = Reshape(ids, pairs)\n y = GatherND(table, i)", (0, 3)),
    "ScatterElements": ("y = ScatterElements <axis: int = 1> (square, ids, ones)", (0, 8)),
    "ScatterND": ("i = Unsqueeze(ids, last)\n y = ScatterND(line, i, ones)", (0, 10)),
    "OneHot": ("y = OneHot(ids, depth, ends)", (0, 6)),
    "the smallest of several": ("a = Gather(table, ids)\n y = Gather(line, ids)", (0, 10)),
    # what keeps the elements
    "casts": (
        "i = Cast <to: int = 1> (ids)\n j = Cast <to: int = 7> (i)\n y = Gather(table, j)",
        (0, 19),
    ),
    "shapes": (
        "a = Unsqueeze(ids, last)\n b = Squeeze(a, last)\n c = Reshape(b, pairs)\n"
        "d = Transpose(c)\n e = Identity(d)\n f = Expand(e, grown)\n y = Gather(table, f)",
        (0, 19),
    ),
    "a slice": ("a = Slice(ids, zero, one, one)\n y = Gather(table, a)", (0, 19)),
    "a part": (
        "a, b = Split <axis: int = 1, num_outputs: int = 2> (ids)\n y = Gather(table, b)",
        (0, 19),
    ),
    "beside others": (
        "a = Concat <axis: int = 1> (column, ids)\n y = Gather(table, a)",
        (0, 19),
    ),
    "chosen": (
        "t = Equal(ids, one)\n a = Where(t, one, ids)\n y = Gather(table, a)",
        (0, 19),
    ),
    "picked": ("a = Gather <axis: int = 1> (ids, zero)\n y = Gather(table, a)", (0, 19)),
    "an If": (
        """t = Equal(one_number, one_number)
        y = If (t) <
          then_branch = a () => (float[m, n, o] p) { p = Gather(table, ids) },
          else_branch = b () => (float[m, n, o] q) { q = Gather(table, ids) }
        >""",
        (0, 19),
    ),
    "behind an If": (
        """t = Equal(one_number, one_number)
        z = If (t) <
          then_branch = a () => (int64[m, n] p) { p = Identity(ids) },
          else_branch = b () => (int64[m, n] q) { q = Sub(ids, one) }
        >
        y = Gather(table, z)""",
        (1, 19),
    ),
    # arithmetic
    "plus": ("a = Add(ids, two)\n y = Gather(table, a)", (0, 17)),
    "minus, then at least 0": ("a = Sub(ids, two)\n b = Clip(a, nought)\n y = Gather(table, b)",
                               (2, 21)),
    "from the other end": ("a = Sub(nineteen, ids)\n y = Gather(table, a)", (0, 19)),
    "times": ("a = Mul(ids, two)\n y = Gather(table, a)", (0, 9)),
    "an offset for each": ("a = Add(ids, offsets)\n y = Gather(table, a)", (0, 4)),
    "remainder": ("a = Mod(ids, twenty)\n y = Gather(table, a)", (0, 19)),
    "a constant node": (
        "c = Constant <value_ints: ints = [1, 3]> ()\n d = Unsqueeze(c, zero)\n"
        "e = Expand(d, pairs_twice)\n f = Reshape(e, pairs_twice)\n g = Reshape(ids, pairs_twice)\n"
        "a = Add(g, f)\n y = Gather(table, a)",
        (0, 16),
    ),
}  # fmt: skip
UNKNOWN = {
    "no index": "y = Cast <to: int = 1> (ids)",
    "squares": "a = Mul(ids, ids)\n y = Gather(table, a)",
    "a truth": "t = Cast <to: int = 9> (ids)\n a = Cast <to: int = 7> (t)\n y = Gather(table, a)",
    "a running sum": "a = CumSum(ids, one_number)\n y = Gather(table, a)",
    "places of the largest": "v, a = TopK(ids, one)\n y = Gather(table, a)",
    "what is read there": "a = Gather(numbers, zero)\n b = Add(ids, a)\n y = Gather(table, b)",
}
INTS = {
    "last": [-1], "zero": [0], "one": [1], "two": [2], "pairs": [4, 2], "pairs_twice": [2, 2, 2],
    "grown": [3, 2, 4],
    "column": [[1], [0]], "one_number": 1, "nought": 0, "nineteen": 19, "twenty": 20,
    "offsets": [0, 5, 10, 15], "depth": 7, "numbers": [0, 3],
}  # fmt: skip
FLOATS = {"table": (20, 4), "square": (9, 9), "line": (11,), "ones": (2, 4), "ends": (2,)}


def model(nodes: str, ids: str = "int64[2, 4] ids") -> onnx.ModelProto:
    text = f"{HEAD} g ({ids}) => (float[a, b, c] y) {{\n {nodes}\n}}"
    made = onnx.parser.parse_model(text)
    for name, value in INTS.items():
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    for name, shape in FLOATS.items():
        array = np.zeros(shape, np.float32)
        made.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return made


@pytest.mark.parametrize(("nodes", "span"), READS.values(), ids=READS)
def test_a_range_goes_to_the_last_row_that_an_input_can_index(
    nodes: str, span: tuple[int, int]
) -> None:
    made = model(nodes)
    assert index_ranges(read_model(made.SerializeToString()), [SHAPES]) == {"ids": span}


@pytest.mark.parametrize("name", [name for name in READS if name != "ScatterND"])
def test_onnxruntime_runs_with_both_ends_of_the_range(name: str, tmp_path: Path) -> None:
    nodes, span = READS[name]
    onnx.save(model(nodes), tmp_path / "a.onnx")
    for end in span:
        ids = np.full((2, 4), end)
        if name == "ScatterElements":
            ids[:] = np.arange(4) + span[1] - 3  # no index twice
        run(tmp_path / "a.onnx", {"ids": ids})


@pytest.mark.parametrize("nodes", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_followed_tells_no_range(nodes: str) -> None:
    assert index_ranges(read_model(model(nodes).SerializeToString()), [SHAPES]) == {}


def test_a_table_may_be_as_large_as_the_sample_and_the_smallest_sample_counts() -> None:
    made = model_of(
        f"{HEAD} g (float[n, length] x, int64[n, k] ids) => (float[n, k] y)"
        " { y = GatherElements <axis: int = 1> (x, ids) }"
    )
    of = {"x": (2, 9), "ids": (2, 3)}
    assert index_ranges(made, [of]) == {"ids": (0, 8)}
    assert index_ranges(made, [of, {**of, "x": (2, 5)}]) == {"ids": (0, 4)}


def test_the_embedding_that_onnxruntime_fuses_has_a_table_for_each_input() -> None:
    made = model_of(
        f"""{HEAD} g (int32[2, 4] ids, int32[2, 4] kinds) => (float[2, 4, 8] y)
        <float[500, 8] words, float[64, 8] places, float[2, 8] kind_table, float[8] s, float[8] t>
        {{
          y, m = com.microsoft.EmbedLayerNormalization(ids, kinds, words, places, kind_table, s, t)
        }}"""
    )
    shapes = {"ids": (2, 4), "kinds": (2, 4)}
    assert index_ranges(made, [shapes]) == {"ids": (0, 499), "kinds": (0, 1)}
