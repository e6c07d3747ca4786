"""What flows through a graph, what the sides of a cut take, and how a cut is told."""

from __future__ import annotations

from dataclasses import replace

import onnx
import onnx.parser

from partition_core.graph.file.graph import Model
from partition_core.graph.file.graph_reader import read_model
from partition_core.suggest.advice import _chosen
from partition_core.suggest.appraisal import appraised
from partition_core.suggest.flow import Flow, flow_of, unknown_sizes
from partition_core.suggest.naming import CutText, cut_text, words_of
from partition_core.suggest.search import Wishes, pareto_front
from partition_core.suggest.text import comparison, recipe_lines, unmarkable

TEXT = """
<ir_version: 9, opset_import: ["": 20, "partition": 1]>
g (float[1,2,8,8] x) => (float[1,4,8,8] y, float[2] z)
<float[4,2,1,1] w = {1,2,3,4,5,6,7,8}, float[4,1,1] b = {1,2,3,4}, float[2] k = {1,2}> {
  xm = partition.Mark <func="whole", func_id=0, type="input", name="x", id=0> (x)
  c = Conv (xm, w)
  m = partition.Mark <func="middle", func_id=0, type="output", name="c", id=0> (c)
  bb = Add (b, b)
  d = Add (m, bb)
  e = MaxPool <kernel_shape=[8,8]> (c)
  f = Add (d, e)
  y = partition.Mark <func="whole", func_id=0, type="output", name="y", id=0> (f)
  z = Neg (k)
}
<domain: "partition", opset_import: ["": 20]>
Mark <func, func_id, type, name, id> (x) => (y) { y = Identity(x) }
"""


def model() -> Model:
    """Return a graph with marks, a constant made of a constant, and an output made of none else."""
    proto = onnx.parser.parse_model(TEXT)
    for node in proto.graph.node:
        if node.op_type in ("Conv", "MaxPool"):
            path = {"Conv": "net.conv", "MaxPool": "net.pool"}[node.op_type]
            node.metadata_props.add(key="module", value=path)
    return read_model(proto.SerializeToString())


def tensors(flow: Flow, numbers: tuple[int, ...]) -> list[str]:
    return [flow.tensors[number].name for number in numbers]


def test_constants_and_marks_are_no_part_of_the_flow() -> None:
    flow = flow_of(model())
    assert [step.op_type for step in flow.steps] == ["Conv", "Add", "MaxPool", "Add"]
    assert [(t.name, t.size) for t in flow.tensors] == [
        ("x", 512), ("c", 1024), ("d", 1024), ("e", 16), ("f", 1024)
    ]  # fmt: skip
    assert flow.steps[0].flops == 2 * 2 * 4 * 64
    # The sum is read by way of a constant, so its weight goes where the sum is needed.
    assert [flow.weights[one].name for one in flow.steps[1].weights] == ["b"]
    assert unknown_sizes(model()) == []


def test_memory_is_the_most_that_lives_at_once_and_outputs_stay() -> None:
    flow = flow_of(model())
    cut = appraised(flow, (0, 0, 1, 1))
    assert [tensors(flow, numbers) for numbers in cut.boundaries] == [["c", "d"]]
    assert cut.crossing == 2048
    first, second = cut.figures
    # x, c and d, which both leave; then c and d all the time, e, and f.
    assert (first.activations, second.activations) == (512 + 2048, 2048 + 16 + 1024)
    assert (first.parameters, first.weights, second.weights) == (8 + 4, 4 * (8 + 4), 0)
    whole = appraised(flow, (0,) * 4).figures[0]
    # c and d live until they were read last, x all the time.
    assert whole.activations == 512 + 1024 + 1024 + 16 + 1024 - 1024
    assert (first.seconds, first.nodes) == (None, 2)


def test_a_value_that_crosses_two_boundaries_counts_at_both() -> None:
    flow = flow_of(model())
    cut = appraised(flow, (0, 1, 1, 2))
    assert [tensors(flow, n) for n in cut.boundaries] == [["c"], ["d", "e"]]
    assert appraised(flow, (0, 0, 1, 2)).crossing == (1024 + 1024) + (1024 + 16)


def test_a_cut_is_said_by_marks_and_modules_and_what_has_none_is_told() -> None:
    made = model()
    flow = flow_of(made)
    words = words_of(made, flow, "net")
    assert words.modules == {"c": "conv", "e": "pool"}
    assert words.efforts(flow) == (1, 1, 16, 2, 1)
    found = cut_text(words, flow, (0, 1, 1, 1))
    assert found.segments == [
        (["whole:input"], ["middle:output"]), (["middle:output"], ["whole:output"])
    ]  # fmt: skip
    assert (list(found.known), found.new, found.unmarkable) == (["whole", "middle"], {}, {})
    assert list(cut_text(words, flow, (0, 0, 0, 1)).unmarkable) == ["d"]
    assert cut_text(words, flow, (0, 0, 0, 1)).new == {"pool": "pool"}
    lines = list(recipe_lines(cut_text(words, flow, (0, 0, 0, 1)), {}, ["a.onnx", "b.onnx"]))
    assert lines[0] == "# No mark can name 'd': no module returns only it."


def test_the_cut_of_choice_is_one_that_marks_can_name() -> None:
    flow = flow_of(model())
    appraisal = appraised(flow, (0, 1, 1, 1))
    even, uneven = replace(appraisal, share=600), replace(appraisal, share=999)
    named, unnamed = CutText(), CutText(unmarkable={"d": None})
    for cuts, expected in (
        ([(even, unnamed), (uneven, named), (even, named)], 2),
        ([(even, unnamed), (uneven, named)], 1),
        ([(uneven, unnamed), (even, unnamed)], 1),
        ([(uneven, unnamed)], 0),
    ):
        best, every = zip(*cuts, strict=True)
        assert _chosen(best, every, None) == expected
        assert _chosen(best, every, 1) == 0
    assert list(unmarkable([], 2)) == []
    assert list(unmarkable([1, 3], 4)) == [
        "No mark can name what crosses in cut 1, 3: mark a function of your own there."
    ]


def test_a_module_that_is_called_twice_has_no_single_output() -> None:
    text = TEXT.replace("e = MaxPool <kernel_shape=[8,8]> (c)", "e = Conv (x, w)")
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.add(name="net.c.w", data_type=1, dims=[4, 2, 1, 1], raw_data=bytes(32))
    last = [node for node in proto.graph.node if node.op_type == "Conv"][-1]
    for node in proto.graph.node:
        if node.op_type == "Conv":
            node.input[1] = "net.c.w"
            node.metadata_props.add(key="module", value="net.c")
    alone = flow_of(read_model(proto.SerializeToString()))
    assert words_of(read_model(proto.SerializeToString()), alone, "net").modules == {}
    last.metadata_props[0].value = "net.d"
    split = read_model(proto.SerializeToString())
    assert words_of(split, flow_of(split), "net").modules == {"c": "c", "e": "d"}


def test_the_comparison_names_a_cut_that_is_better() -> None:
    flow = flow_of(model())
    best = [appraised(flow, found.parts) for found in pareto_front(flow, Wishes()).cuts]
    assert comparison(best[0], best).endswith("; no cut beats it")
    worse = appraised(flow, (0, 0, 1, 1))
    assert "cut 1 carries 1.0 kB" in comparison(worse, best)
