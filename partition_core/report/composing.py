"""Composes the page's figures from a build's results; must not run, read or write anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from partition_core.base.folders import END2END
from partition_core.base.wording import counted, large, seeded_weights, size_text
from partition_core.recipe.values import Model
from partition_core.report.crossings import Crossing
from partition_core.report.figures import Column, Report, SegmentRow, dims_text, milliseconds
from partition_core.report.map import borders, region_class
from partition_core.report.measuring import Measured
from partition_core.report.overview import Box, Overview, Work
from partition_core.report.pictures import pictures, threshold
from partition_core.report.source import Source
from partition_core.report.targets import runtimes, target_rows
from partition_core.report.tensors import (
    match_rows,
    optimized_note,
    path,
    proof_note,
    size_of,
    tensor_rows,
)

Rows = list[tuple[str, str]]


def compose(source: Source) -> Report:
    """Return everything that the page of a build shows, except the map."""
    shown = tuple(pictures(source))
    overview = source.overview
    crossed = {mark for crossing in overview.crossings for mark in crossing.marks}
    return Report(
        recipe=source.recipe.name,
        about=_about(source),
        summary=source.summary[:1].upper() + source.summary[1:],
        facts=tuple(_facts(source)),
        segments=tuple(_segments(source)),
        shared=_nodes_in([box for box in overview.boxes if len(box.region) > 1]),
        outside=_nodes_in([box for box in overview.boxes if not box.region]),
        idle_marks=tuple(mark for mark in source.marks if mark not in crossed),
        measuring=_measuring(source),
        tensors=tuple(tensor_rows(source)),
        against=source.proven["proof"]["against"],
        proof_note=proof_note(source),
        matches=tuple(match_rows(source)),
        optimized_note=optimized_note(source),
        command=f"doit build recipe={source.recipe.name}",
        recipe_file=source.recipe_file,
        recipe_text=source.recipe_text,
        provenance=source.provenance,
        details=_details(overview),
        pictures=shown,
        threshold=threshold(shown),
        weights_note=_weights_note(source.recipe.model),
        targets=tuple(target_rows(source)),
        runtimes=runtimes(source),
    )


def _about(source: Source) -> str:
    inputs = ", ".join(
        f"{name} {array.dtype} {dims_text(array.shape)}"
        for name, array in source.recording.samples[0].inputs.items()
    )
    return f"{source.recipe.model.title}, {inputs}; partition {source.recipe.partition.type}"


def _facts(source: Source) -> Iterator[tuple[str, str, str]]:
    whole, models = source.overview.whole, source.figures.models
    yield "Segments", str(len(source.overview.segments)), counted(whole.nodes, "node")
    yield "Weights", large(whole.weights.count), size_text(whole.weights.size)
    yield "FLOPs", large(whole.flops).strip(), _unknown(whole)
    parts = [models[name].median for name in source.overview.segments]
    if models[END2END].runs:
        yield "Latency, whole", milliseconds(models[END2END].median), ""
        yield "Latency, chained", milliseconds(sum(parts)), "sum of the segments"
    inner = [edge for edge in source.overview.crossings if _is_inner(edge, source.overview)]
    known = [crossing.size for crossing in inner if crossing.size is not None]
    size = size_text(sum(known)) if known or not inner else "varies"
    yield "Crossing the cuts", size, counted(len(inner), "tensor")


def _is_inner(crossing: Crossing, overview: Overview) -> bool:
    return any(name in overview.segments for name in crossing.enters) and bool(
        not crossing.leaves or set(crossing.leaves) & set(overview.segments)
    )


def _segments(source: Source) -> Iterator[SegmentRow]:
    overview, models = source.overview, source.figures.models
    names = list(overview.segments)
    for name in names:
        columns = _columns(overview.segments[name], source.models[name], models[name], source)
        yield SegmentRow(name, region_class((name,), names), tuple(columns))
    columns = _columns(overview.whole, source.models[END2END], models[END2END], source)
    plain = tuple(Column(column.name, column.text, column.note) for column in columns)
    yield SegmentRow(END2END, "", plain)


def _columns(work: Work, size: int, measured: Measured, source: Source) -> Iterator[Column]:
    whole = source.overview.whole
    reference = source.figures.models[END2END]
    yield Column("Nodes", str(work.nodes), share=_share(work.nodes, whole.nodes))
    yield Column(
        "Weights", large(work.weights.count), share=_share(work.weights.count, whole.weights.count)
    )
    yield Column("File", size_text(size), share=_share(size, source.models[END2END]))
    yield Column(
        "FLOPs", large(work.flops).strip(), _unknown(work), _share(work.flops, whole.flops)
    )
    if not measured.runs:
        yield Column("Latency", "not run here")
        yield Column("Peak activations", "not measured")
        return
    spread = f"{milliseconds(min(measured.runs))} – {milliseconds(max(measured.runs))}"
    yield Column(
        "Latency",
        milliseconds(measured.median),
        spread if len(measured.runs) > 1 else "one run",
        _share(measured.median, reference.median) if reference.runs else None,
    )
    if measured.peak is None:
        yield Column("Peak activations", "not measured")
    else:
        share = _share(measured.peak, reference.peak) if reference.peak else None
        yield Column("Peak activations", size_text(measured.peak), share=share)


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole else 0.0


def _unknown(work: Work) -> str:
    return f"without {counted(work.unknown, 'node')}" if work.unknown else ""


def _measuring(source: Source) -> str:
    places = dict.fromkeys(model.where for model in source.figures.models.values() if model.runs)
    return (
        f"Measured on {' and '.join(places)}, each model in a process of its own. Latency is the "
        "median of up to 30 runs after one to warm up; peak activations is the memory that a run "
        "takes beyond the loaded model. FLOPs are counted from shapes, two for a multiply-add; "
        "“without” counts nodes whose cost depends on the data."
    )


def _weights_note(model: Model) -> str:
    if model.seed is None:
        return ""
    note = seeded_weights(model.seed)
    return f"{note[:1].upper()}{note[1:]}. That all three agree does."


def _nodes_in(boxes: Sequence[Box]) -> str:
    return counted(sum(box.work.nodes for box in boxes), "node") if boxes else ""


def _details(overview: Overview) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for index, box in enumerate(overview.boxes):
        title = box.module or "Code outside modules"
        details[f"box-{index}"] = {"title": title, "rows": _box_rows(box)}
    for index, border in enumerate(borders(overview)):
        rows: Rows = []
        for position in border.crossings:
            rows += _crossing_rows(overview.crossings[position])
        details[f"border-{index}"] = {
            "title": border.mark or "Tensors without a mark",
            "rows": rows,
        }
    return details


def _box_rows(box: Box) -> Rows:
    work = box.work
    return [
        ("segment", ", ".join(box.region) or "none"),
        ("nodes", str(work.nodes)),
        ("weights", f"{large(work.weights.count)} in {size_text(work.weights.size)}"),
        ("FLOPs", f"{large(work.flops).strip()} {_unknown(work)}".strip()),
        *((operator, f"× {count}") for operator, count in work.operators.items()),
    ]


def _crossing_rows(crossing: Crossing) -> Rows:
    return [
        ("tensor", " = ".join(crossing.names)),
        ("type", f"{crossing.dtype} {dims_text(crossing.dims)}"),
        ("bytes", size_of(crossing)),
        ("path", path(crossing)),
        *(("mark", mark) for mark in crossing.marks),
    ]
