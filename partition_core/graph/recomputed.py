"""Finds what segments compute again after earlier ones, and the tensors that would avoid it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from partition_core.base.wording import counted, first_of, large, size_text
from partition_core.graph.costs import flops_of, total, types_of, weights_of
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.marks import is_mark, marks_of, unmarked_reads
from partition_core.graph.scope import Scope, scopes_of
from partition_core.graph.walk import reads
from partition_core.recipe.values import Segment

_LARGE = 1000
_MOST_NAMED = 4


@dataclass(frozen=True)
class Recomputed:
    """`segment` runs `nodes` of its `of` nodes again that the segments `before` run.

    `flops` are their floating-point operations, None where a shape is not known, and `weights` the
    bytes of weights that they read. If the segment started at the tensors that the references
    `marked` select, and at the tensors `unmarked`, it would not run them.
    """

    segment: str
    before: tuple[str, ...]
    nodes: int
    of: int
    flops: int | None
    weights: int
    marked: tuple[str, ...]
    unmarked: tuple[str, ...]

    def __str__(self) -> str:
        """Return a sentence, with what to do."""
        work = [] if self.flops is None else [f"{self.flops} FLOPs"]
        if self.flops is not None and self.flops >= _LARGE:
            work = [f"{large(self.flops)}FLOPs"]
        work += [f"{size_text(self.weights)} of weights"] if self.weights else []
        marked, unmarked = (
            first_of([f"'{name}'" for name in names], _MOST_NAMED)
            for names in (self.marked, self.unmarked)
        )
        wanted = [f"add {marked} to its start"] if marked else []
        if unmarked:
            them = "it" if len(self.unmarked) == 1 else "them"
            wanted.append(f"mark {unmarked} and add {them} to its start")
        return (
            f"{self.segment} computes {self.nodes} of its {counted(self.of, 'node')} again, which "
            f"{' and '.join(self.before)} computes ({', '.join(work)}): {', and '.join(wanted)}"
        )


def recomputed(model: Model, segments: Sequence[Segment]) -> list[Recomputed]:
    """Return what each of `segments` computes again; raises CutError.

    Moving data, and computing shapes, costs next to nothing and does not count.
    """
    type_in = types_of(model)
    runs: dict[Node, list[str]] = {}
    result: list[Recomputed] = []
    for scope in scopes_of(model, segments):
        nodes = [node for node in scope.walk.nodes if not is_mark(node)]
        again = {node for node in nodes if node in runs}
        costs = [flops_of(node, type_in, {}) for node in again]
        weights = weights_of(value for node in again for value in reads(node)).size
        if weights or any(costs):
            marked, unmarked = _frontier(model, scope, again)
            result.append(
                Recomputed(
                    segment=scope.segment.save_file,
                    before=tuple(dict.fromkeys(name for n in nodes for name in runs.get(n, ()))),
                    nodes=len(again),
                    of=len(nodes),
                    flops=total(costs),
                    weights=weights,
                    marked=marked,
                    unmarked=unmarked,
                )
            )
        for node in nodes:
            runs.setdefault(node, []).append(scope.segment.save_file)
    return result


def _frontier(
    model: Model, scope: Scope, again: set[Node]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where the segment would start behind the nodes `again`: references, and names."""
    by_value = marks_of(model).by_value
    borders = dict.fromkeys(_borders(scope, again))
    marked = tuple(str(by_value[value][-1]) for value in borders if value in by_value)
    return marked, tuple(value.name for value in borders if value not in by_value)


def _borders(scope: Scope, again: set[Node]) -> Iterator[Value]:
    for node in scope.walk.nodes:
        if node not in again and not is_mark(node):
            yield from (v for v in unmarked_reads(node) if v.producer in again)
    yield from (item.value for item in scope.outputs if item.value.producer in again)
