"""The map that Graphviz draws: regions, borders, and names that stay names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from partition_core.base.errors import BuildError
from partition_core.report import layout
from partition_core.report.map import borders, partition_map
from partition_core.report.overview import Overview, overview

from .support import APART, WHOLE, marked_model, segment

NASTY = "<B>&amp;</B></svg><script>alert(1)</script>"
ESCAPES = r"\N\G{a|b}<t0>\l\n"


def shapes(found: Overview) -> dict[str, tuple[list[str], list[str]]]:
    """Return the classes and the texts of each shape of the map, by its id."""
    root = ElementTree.fromstring(partition_map(found))  # noqa: S314  # reason: our own output
    return {
        one.attrib["id"]: (
            one.attrib["class"].split(),
            [text.text or "" for text in one if text.tag.endswith("text")],
        )
        for one in root.iter()
        if "id" in one.attrib and "class" in one.attrib
    }


def test_shared_nodes_and_those_outside_have_regions_that_say_so() -> None:
    drawn = shapes(overview(marked_model(), APART, {}, limit=1))
    regions = [told for name, told in drawn.items() if name.startswith("region")]
    assert [text for _, (text,) in regions] == ["in several: first.onnx, last.onnx", "last.onnx"]
    assert [classes[-1] for classes, _ in regions] == ["shared", "seg-1"]
    gap = (segment("first.onnx", "net:input", "early:output"),)
    drawn = shapes(overview(marked_model(), gap, {}, limit=1))
    assert [drawn[f"region-{k}"][0][-1] for k in (0, 1)] == ["seg-0", "outside"]


def test_each_tensor_at_a_border_tells_name_type_dims_and_bytes() -> None:
    drawn = shapes(overview(marked_model(), WHOLE, {"rows": 5}, limit=30, smallest=1))
    assert drawn["border-0"][1] == ["net:input", "image", "float32 1 × 2 × rows", "40 B*"]
    assert drawn["border-1"][1] == ["net:output", "out", "float32 1 × 2 × rows", "40 B*"]


def test_many_tensors_of_one_mark_are_one_border_with_all_of_them() -> None:
    found = overview(marked_model(), WHOLE, {}, limit=1)
    first = found.crossings[0]
    many = [replace(first, names=(f"tensor{k}",)) for k in range(11)]
    found = replace(found, crossings=(*many, *found.crossings[1:]))
    assert [len(one.crossings) for one in borders(found)] == [11, 1]
    told = shapes(found)["border-0"][1]
    assert [text for text in told if text.startswith("tensor")] == [f"tensor{k}" for k in range(11)]


@pytest.mark.parametrize("name", [NASTY, ESCAPES, "<table>", "\x01\x7f", "“×”"])
def test_a_name_is_never_taken_for_anything_else(name: str) -> None:
    found = overview(marked_model(), WHOLE, {}, limit=30, smallest=1)
    box = replace(found.boxes[0], module=name, region=(name,))
    crossing = replace(found.crossings[0], names=(name,), mark=name)
    found = replace(
        found,
        boxes=(box, *found.boxes[1:]),
        crossings=(crossing, *found.crossings[1:]),
        segments={**found.segments, name: found.whole},
    )
    drawn = shapes(found)
    shown = "".join("\N{REPLACEMENT CHARACTER}" if ord(c) < 32 or c == "\x7f" else c for c in name)
    for text in (drawn["box-0"][1][0], drawn["border-0"][1][0], drawn["border-0"][1][1]):
        assert text.replace("\N{NO-BREAK SPACE}", " ") in (shown, f"…{shown[-33:]}")


def test_equal_overviews_have_equal_maps_and_nothing_is_left_behind() -> None:
    page = Path(layout.__file__).parent / "page"
    before = sorted(page.iterdir())
    found = overview(marked_model(), APART, {}, limit=30, smallest=1)
    assert partition_map(found) == partition_map(found)
    assert sorted(page.iterdir()) == before


def test_text_is_measured_by_our_font_and_not_by_the_machine_s() -> None:
    # DejaVu Sans Bold's E is 0.683 of an em and its M 0.995, both wider than Helvetica's; letters
    # of 24 points, margins of 0.11 inch at each side.
    for text, letters in (("EEEEEEEEEE", 6.83), ("M", 0.995)):
        svg = layout.drawn(f'digraph {{ n [shape=box, width=0, fontsize=24, label="{text}"] }}')
        (corners,) = re.findall(r'points="([^"]*)"', svg)[1:]
        across = [float(pair.split(",")[0]) for pair in corners.split()]
        assert max(across) - min(across) == pytest.approx(24 * letters + 2 * 0.11 * 72, abs=3)


def test_a_failure_of_graphviz_is_an_error_of_ours() -> None:
    with pytest.raises(BuildError, match=r"^report: Graphviz did not draw the map: \w"):
        layout.drawn("this is { no graph")


@pytest.mark.parametrize(
    ("pygraphviz", "told"),
    [
        ("raise ModuleNotFoundError(\"No module named 'pygraphviz'\")", "No module named"),
        ("raise ImportError('libcgraph.so.6: cannot open shared object file')", "libcgraph.so.6"),
        (
            "class AGraph:\n def __init__(self, _): raise OSError('no program dot')",
            "no program dot",
        ),
        ("import os; os.abort()", "it exited with -6"),
    ],
)
def test_why_no_map_can_be_drawn_is_found_by_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pygraphviz: str, told: str
) -> None:
    (tmp_path / "pygraphviz.py").write_text(pygraphviz)
    layout.obstacle.cache_clear()
    assert layout.obstacle() == ""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    layout.obstacle.cache_clear()
    assert told in layout.obstacle()
    layout.obstacle.cache_clear()
