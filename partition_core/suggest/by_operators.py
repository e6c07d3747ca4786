"""Shows how a list of operators would divide a model: its parts, and what is not supported."""

from __future__ import annotations

from collections.abc import Iterator

from partition_core.base.wording import columns, counted, size_text
from partition_core.graph.costs import weights_of
from partition_core.graph.file.graph import Model
from partition_core.graph.parts import constant_reads, part_marks
from partition_core.graph.supported import divided, reason_lines
from partition_core.recipe.values import OperatorCut

_COLUMNS = ("part", "nodes", "weights", "starts at", "ends at")
_MOST_LISTED = 40


def division_lines(recipe: str, model: Model, cut: OperatorCut, name: str) -> Iterator[str]:
    """Yield the parts of a model by the list `name` as a table, why nodes are not supported, and
    the line of a recipe; raises CutError if nothing with weights is supported."""
    division = divided(model, cut)
    constants = division.constants
    tensors = part_marks(model, constants, division.parts, division.names, "").tensors
    yield f"{recipe}: {counted(len(division.names), 'part')} by the operators of {name}"
    rows = [_COLUMNS]
    for number, part in enumerate(division.names):
        nodes = [node for node, its in division.parts.items() if its == number]
        weights = {value for node in nodes for value in constant_reads(node, constants)}
        ends = [
            ", ".join(t.name for t in tensors if (t.mark, t.side) == (part, side))
            for side in ("input", "output")
        ]
        rows.append((part, str(len(nodes)), size_text(weights_of(weights).size), ends[0], ends[1]))
    yield from columns(rows, frozenset({1, 2}))
    lines = reason_lines(division)
    yield f"not supported: {counted(len(lines), 'node')}"
    yield from (f"  {line}" for line in lines[:_MOST_LISTED])
    if len(lines) > _MOST_LISTED:
        yield f"  and {len(lines) - _MOST_LISTED} more"
    key = "file" if name.endswith((".yaml", ".yml")) else "toolchain"
    yield f"partition: {{type: supported, operators: {{{key}: {name}}}}}"
