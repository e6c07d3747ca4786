"""The table of targets: how large and fast a converted segment is, and how it agrees."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from partition_core.base.wording import size_text
from partition_core.report.figures import TargetRow, milliseconds
from partition_core.report.source import Source, TargetResult


def target_rows(source: Source) -> Iterator[TargetRow]:
    """Yield a row for each target, in the order of the recipe."""
    results = {result.folder: result for result in source.targets}
    for target in source.recipe.partition.targets:
        if target.folder in results:
            yield _row(results[target.folder])
        elif target.folder in source.failed:
            failed = source.failed[target.folder]
            yield TargetRow(target.name, target.segment, failed=tuple(failed))


def runtimes(source: Source) -> dict[str, str]:
    """Return the names of the targets in which each segment runs."""
    names: dict[str, list[str]] = {}
    for result in source.targets:
        names.setdefault(result.segment, []).append(result.name)
    return {segment: ", ".join(targets) for segment, targets in names.items()}


def _row(result: TargetResult) -> TargetRow:
    ours, theirs = map(statistics.median, (result.target, result.onnxruntime))
    return TargetRow(
        name=result.name,
        segment=result.segment,
        size=size_text(result.size),
        latency=f"{milliseconds(ours)}, onnxruntime {milliseconds(theirs)}",
        ratio=f"{ours / theirs:.2f}" if theirs else "",
        tensors=[
            (name, f"{figures['relative_l2']:.1e}")
            for name, figures in result.comparison["tensors"].items()
        ],
        detections=_detections(result.comparison),
    )


def _detections(comparison: Mapping[str, Any]) -> str:
    found = comparison.get("detections")
    return f"{found['same']} of {found['end2end']} are the same" if found else ""
