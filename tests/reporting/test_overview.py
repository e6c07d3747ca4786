"""The overview of a partition: boxes by module and segment, tensors at borders, what they cost."""

from __future__ import annotations

import pytest

from partition_core.graph.file.graph import Model
from partition_core.recipe.values import Segment
from partition_core.report.overview import Overview, overview, sizes_in

from .support import APART, WHOLE, marked_model, reference, segment


@pytest.fixture
def model() -> Model:
    return marked_model()


def modules(found: Overview) -> list[tuple[str, tuple[str, ...], int]]:
    return [(box.module, box.region, box.work.nodes) for box in found.boxes]


def test_modules_are_split_from_the_outside_until_there_are_enough_boxes(model: Model) -> None:
    region = ("all.onnx",)
    one = [("", region, 6)]
    parts = [("backbone", region, 3), ("neck", region, 1), ("head", region, 1), ("", region, 1)]
    stages = [("backbone.stem", region, 1), ("backbone.stages", region, 2), *parts[1:]]
    leaves = [
        stages[0],
        ("backbone.stages.0", region, 1),
        ("backbone.stages.1", region, 1),
        *parts[1:],
    ]
    found = {
        n: modules(overview(model, WHOLE, {}, limit=n, smallest=1)) for n in (1, 3, 4, 5, 6, 30)
    }
    assert found == {1: one, 3: one, 4: parts, 5: stages, 6: leaves, 30: leaves}


def test_modules_of_a_few_nodes_stay_whole(model: Model) -> None:
    region = ("all.onnx",)
    parts = [("backbone", region, 3), ("neck", region, 1), ("head", region, 1), ("", region, 1)]
    assert modules(overview(model, WHOLE, {}, limit=30)) == parts


def test_nodes_in_several_segments_and_in_none_have_boxes_of_their_own(model: Model) -> None:
    both, last = ("first.onnx", "last.onnx"), ("last.onnx",)
    assert modules(overview(model, APART, {}, limit=1)) == [("", both, 2), ("", last, 4)]
    gap = (segment("first.onnx", "net:input", "early:output"),)
    assert modules(overview(model, gap, {}, limit=1)) == [("", ("first.onnx",), 2), ("", (), 4)]


def test_a_tensor_that_crosses_tells_its_way_and_its_bytes(model: Model) -> None:
    parts = (
        segment("first.onnx", "net:input", "early:output"),
        Segment(
            "last.onnx",
            (reference("early:output"), reference("net:input")),
            (reference("net:output"),),
        ),
    )
    found = overview(model, parts, {"rows": 5}, limit=30, smallest=1)
    told = {one.names[0]: one for one in found.crossings}
    assert list(told) == ["image", "early", "out"]
    early = told["early"]
    assert (early.mark, early.marks) == ("early:output", ("early:output.early",))
    assert (early.leaves, early.enters) == (("first.onnx",), ("last.onnx",))
    assert (early.dtype, early.dims, early.size) == ("float32", (1, 2, "rows"), 40)
    assert [found.boxes[k].module for k in early.sources] == ["backbone.stages.0"]
    assert [found.boxes[k].module for k in early.targets] == ["backbone.stages.1"]
    image, out = told["image"], told["out"]
    assert image.leaves == ("end2end input",)
    assert image.enters == ("first.onnx", "last.onnx")
    assert (out.leaves, out.enters) == (("last.onnx",), ("end2end output",))
    assert overview(model, parts, {}, limit=30, smallest=1).crossings[1].size is None


def test_what_crosses_no_border_is_an_arrow(model: Model) -> None:
    found = overview(model, WHOLE, {}, limit=30, smallest=1)
    arrows = [(found.boxes[a].module, found.boxes[b].module) for a, b in found.arrows]
    assert sorted(arrows) == [
        ("backbone.stages.0", "backbone.stages.1"),
        ("backbone.stages.1", "neck"),
        ("backbone.stem", ""),
        ("backbone.stem", "backbone.stages.0"),
        ("head", ""),
        ("neck", "head"),
    ]


def test_the_work_of_segments_counts_shared_nodes_in_each(model: Model) -> None:
    found = overview(model, APART, {"rows": 5})
    assert {name: work.nodes for name, work in found.segments.items()} == {
        "first.onnx": 2,
        "last.onnx": 6,
    }
    # Exp, Neg, Abs, Sigmoid and Add on ten numbers each; Relu compares.
    assert (found.whole.nodes, found.whole.flops, found.whole.unknown) == (6, 50, 0)
    assert found.segments["first.onnx"].flops == 10
    assert overview(model, APART, {}).whole.unknown == 5


def test_symbols_stand_for_the_sizes_of_what_was_marked(model: Model) -> None:
    shapes = {"early:output.early": (1, 2, 7), "of another model": (3,)}
    assert sizes_in(model, shapes) == {"rows": 7}
