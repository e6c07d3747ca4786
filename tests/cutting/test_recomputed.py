"""A segment that computes what another one computes is told, with what would avoid it."""

from __future__ import annotations

import pytest

from partition_core.base.errors import CutError
from partition_core.graph.cut import cut
from partition_core.graph.recomputed import recomputed
from partition_core.recipe.mark_reference import parse_reference
from partition_core.recipe.values import Segment

from .support import model_of

# A way down with a skip from its first step, and a way up.
UNET = """
<ir_version: 10, opset_import: ["": 20, "partition": 1]>
unet (float[1, 2] image) => (float[1, 2] y) <
  float[2, 2] w1 = {{1, 2, 3, 4}}, float[2, 2] w2 = {{1, 2, 3, 4}},
  float[2, 2] w3 = {{1, 2, 3, 4}}
> {{
  x = partition.Mark <func="net", type="input", name="image"> (image)
  d1 = MatMul (x, w1)
  e1 = Tanh (d1)
  {skip}
  d2 = MatMul (s1, w2)
  low = partition.Mark <func="low", type="output", name="out", dtype=1, shape=[1, 2]> (d2)
  u1 = MatMul (low, w3)
  u2 = Add (u1, s1)
  y = partition.Mark <func="net", type="output", name="y"> (u2)
}}
"""
UNMARKED = "s1 = Identity (e1)"
MARKED = 's1 = partition.Mark <func="skip", type="output", name="out", dtype=1, shape=[1, 2]> (e1)'


def segment(name: str, start: str, end: str) -> Segment:
    sides = [
        tuple(one for text in side.split() if (one := parse_reference(text)) is not None)
        for side in (start, end)
    ]
    return Segment(name, *sides, (), (), ())


DOWN = segment("down.onnx", "net:input", "low:output")
UP = segment("up.onnx", "net:input low:output", "net:output")


def test_what_is_computed_again_is_told_with_its_work() -> None:
    (found,) = recomputed(model_of(UNET.format(skip=UNMARKED)), [DOWN, UP])
    assert str(found) == (
        "up.onnx computes 3 of its 5 nodes again, which down.onnx computes (10 FLOPs, "
        "16 B of weights): mark 's1' and add it to its start"
    )
    assert found.flops == 2 * 4 + 2


def test_a_mark_where_the_segment_could_start_is_offered() -> None:
    model = model_of(UNET.format(skip=MARKED))
    (found,) = recomputed(model, [DOWN, UP])
    assert str(found).endswith("add 'skip:output.out' to its start")
    up = segment("up.onnx", "low:output skip:output", "net:output")
    assert recomputed(model, [DOWN, up]) == []


def test_an_error_offers_first_what_runs_nothing_again() -> None:
    up = segment("up.onnx", "low:output", "net:output")
    for skip, remedy in (
        (MARKED, "add 'skip:output.out' to start"),
        (
            UNMARKED,
            "mark 's1' and add it to start; 'net:input.image' there would also work, but run "
            "3 nodes again",
        ),
    ):
        with pytest.raises(CutError) as error:
            cut(model_of(UNET.format(skip=skip)), up, "segment")
        assert str(error.value).endswith(f"which its start does not list; {remedy}")


def test_shapes_and_moves_that_are_computed_again_are_not_told() -> None:
    text = """
    <ir_version: 10, opset_import: ["": 20, "partition": 1]>
    g (float[2, n] image) => (float[a, b] y) {
      x = partition.Mark <func="net", type="input", name="image"> (image)
      size = Shape (x)
      two = Constant <value_ints=[2, 1]> ()
      twice = Mul (size, two)
      t = Tile (x, two)
      low = partition.Mark <func="low", type="output", name="out", dtype=1, shape=[-1, -1]> (t)
      z = Expand (low, twice)
      y = partition.Mark <func="net", type="output", name="y"> (z)
    }
    """
    down = segment("down.onnx", "net:input", "low:output")
    more = segment("more.onnx", "net:input", "low:output")
    up = segment("up.onnx", "net:input low:output", "net:output")
    assert recomputed(model_of(text), [down, more, up]) == []
