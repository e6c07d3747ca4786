"""Draws the partition map as SVG: Graphviz lays it out, CSS classes colour it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from partition_core.base.wording import counted, large
from partition_core.report.crossings import Crossing
from partition_core.report.figures import dims_text, shortened
from partition_core.report.layout import drawn
from partition_core.report.overview import Box, Overview, Region
from partition_core.report.tensors import size_of

COLOURS = 8
"""The number of segment colours on the page; then they repeat."""
_LONGEST = 34
_CELLS = 4
# Graphviz's own syntax: entities, escapes, the parts of a record, and HTML labels.
_PLAIN = {
    **{chr(code): "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160))},
    **{char: f"&#{ord(char)};" for char in "&<>\"'"},
    **{char: f"&#{ord(char)};" for char in "{}|"},
    "\\": r"\\",
}
_TEXT = {"fontname": "Helvetica", "fontsize": "12"}  # as in the page


@dataclass(frozen=True)
class Border:
    """The tensors that cross at one mark between the same segments: positions of crossings."""

    mark: str
    crossings: tuple[int, ...]


def borders(overview: Overview) -> list[Border]:
    """Return the tensors at borders by mark and by the segments on the two sides."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, crossing in enumerate(overview.crossings):
        groups.setdefault((crossing.mark, crossing.leaves, crossing.enters), []).append(index)
    return [Border(str(key[0]), tuple(indexes)) for key, indexes in groups.items()]


def region_class(region: Region, segments: Sequence[str]) -> str:
    """Return the CSS class of nodes in the segments `region`: `seg-0`, `shared` or `outside`."""
    if len(region) == 1:
        return f"seg-{list(segments).index(region[0]) % COLOURS}"
    return "shared" if region else "outside"


def partition_map(overview: Overview) -> str:
    """Return the SVG element of the map, whose shapes have ids `box-<k>` and `border-<k>`.

    Segments are regions around the boxes of their nodes; nodes in several segments, and in none,
    have regions of their own.
    """
    import pygraphviz

    segments = list(overview.segments)
    graph = pygraphviz.AGraph(strict=False, directed=True, name="map")
    graph.graph_attr.update(
        rankdir="TB", nodesep="0.28", ranksep="0.34", pad="0.1", bgcolor="transparent",
        newrank="true", **_TEXT,
    )  # fmt: skip
    graph.node_attr.update(**_TEXT)
    graph.edge_attr.update(arrowsize="0.6")
    for index, box in enumerate(overview.boxes):
        kind = f"box {region_class(box.region, segments)}"
        graph.add_node(
            f"box-{index}",
            id=f"box-{index}",
            label=_box(box),
            shape="box",
            style="rounded,filled",
            fillcolor="white",
            **{"class": kind},
        )
    for number, region in enumerate(dict.fromkeys(box.region for box in overview.boxes)):
        members = [f"box-{k}" for k, box in enumerate(overview.boxes) if box.region == region]
        graph.add_subgraph(
            members,
            name=f"cluster_{number}",
            label=_lines([_region(region)]),
            labeljust="l",
            fontsize="14",
            margin="14",
            style="rounded",
            id=f"region-{number}",
            **{"class": f"region {region_class(region, segments)}"},
        )
    for source, target in overview.arrows:
        graph.add_edge(f"box-{source}", f"box-{target}", **{"class": "flow"})
    for number, border in enumerate(borders(overview)):
        _add_border(graph, number, border, overview)
    return _embedded(drawn(graph.to_string()))


def _add_border(graph: Any, number: int, border: Border, overview: Overview) -> None:
    name = f"border-{number}"
    crossings = [overview.crossings[index] for index in border.crossings]
    kind = "border" if any(crossing.leaves for crossing in crossings) else "border gap"
    graph.add_node(
        name,
        id=name,
        label=_record(border, crossings),
        shape="record",
        style="filled",
        fillcolor="white",
        **{"class": kind},
    )
    for port, crossing in enumerate(crossings):
        for source in crossing.sources:
            graph.add_edge(f"box-{source}", name, headport=f"t{port}:n", **{"class": "cut"})
        for target in crossing.targets:
            graph.add_edge(name, f"box-{target}", tailport=f"t{port}:s", **{"class": "cut"})


def _region(region: Region) -> str:
    if not region:
        return "in no segment"
    return region[0] if len(region) == 1 else f"in several: {', '.join(region)}"


def _box(box: Box) -> str:
    title = box.module or "outside modules"
    if box.module and box.split:
        title = f"{box.module} (itself)"
    counts = [f"{operator} × {count}" for operator, count in list(box.work.operators.items())[:2]]
    more = len(box.work.operators) - 2
    lines = [
        shortened(title, _LONGEST),
        f"{', '.join(counts)}{f', +{more} more' if more > 0 else ''}",
        " · ".join(_figures(box)),
    ]
    return _lines(lines)


def _figures(box: Box) -> Iterator[str]:
    yield counted(box.work.nodes, "node")
    if box.work.weights.count >= 1000:
        yield f"{large(box.work.weights.count)} weights"
    if box.work.flops >= 10**6:
        yield f"{large(box.work.flops)}FLOP"


def _record(border: Border, crossings: Sequence[Crossing]) -> str:
    """Return the label of a record: the mark, and beside it the tensors in rows."""
    cells = [f"<t{port}>{_lines(_cell(crossing))}" for port, crossing in enumerate(crossings)]
    rows = [f"{{{'|'.join(cells[k : k + _CELLS])}}}" for k in range(0, len(cells), _CELLS)]
    return f"{_lines([shortened(border.mark or 'no mark', _LONGEST)])}|{{{'|'.join(rows)}}}"


def _cell(crossing: Crossing) -> list[str]:
    return [
        shortened(crossing.names[0], _LONGEST),
        f"{crossing.dtype} {dims_text(crossing.dims)}",
        size_of(crossing),
    ]


def _lines(lines: Sequence[str]) -> str:
    """Return lines as a label, with Graphviz's syntax escaped."""
    return r"\n".join("".join(_PLAIN.get(c, c) for c in line) for line in lines)


def _embedded(drawn: str) -> str:
    """Return the SVG element without its file header and Graphviz's tooltips."""
    element = drawn[drawn.index("<svg") :]
    element = re.sub(r"<!--.*?-->\s*", "", element, flags=re.DOTALL)
    element = re.sub(r"<title>.*?</title>\s*", "", element, flags=re.DOTALL)
    element = re.sub(r' font-(family|size)="[^"]*"', "", element)
    size = re.search(r'width="(\d+)pt" height="(\d+)pt"', element)
    if size is None:
        raise ValueError("Graphviz gave an SVG without a size")
    shape = f'width="{size[1]}" height="{size[2]}" role="img" aria-label="Partition map"'
    return element.replace(size[0], shape, 1)
