"""What an export gave beside what the recipe asked for, read from the file."""

from __future__ import annotations

from pathlib import Path

from partition_core.base.errors import ExportError
from partition_core.build.plan import Plan


def check_as_asked(plan: Plan, end2end: Path) -> None:
    """Raise ExportError for everything in which `end2end.onnx` is not what the recipe asks for."""
    from partition_core.graph.as_asked import differences
    from partition_core.graph.file.graph_reader import read_model

    wrong = differences(read_model(end2end), plan.file.recipe, plan.file.place)
    if wrong:
        raise ExportError(*wrong)
