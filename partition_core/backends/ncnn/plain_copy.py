"""Copies a segment for pnnx: rewritten, with short names, and weights where pnnx reads them.

pnnx puts names into a file in which spaces separate words, and of weights in other files it reads
only those in `<model>.data`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from partition_core.backends.ncnn.rewrites import rewrite
from partition_core.graph.file.byte_mover import write_pieces
from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Graph, Model, Value
from partition_core.graph.file.graph_reader import NODE_NAME
from partition_core.graph.file.graph_writer import write_model
from partition_core.graph.file.tensor_writers import Beside, Inline
from partition_core.graph.file.wire import without
from partition_core.graph.walk import all_nodes

_LARGE = 1 << 30
"""Bytes of a model from which on its weights are beside it; a message has at most twice as many."""


def write_copy(model: Model, target: Path) -> None:
    """Write `model` to `target` with names `v0`, `v1`, … for its tensors; `model` is consumed.

    Raises CutError for invalid external data, OSError and EOFError.
    """
    rewrite(model)
    graph = model.graph
    graph.name, graph.other_infos, graph.annotations = "graph", [], []
    for number, value in enumerate(_values(graph)):
        value.name = f"v{number}" if value.name else ""
    for node in all_nodes(graph):
        node.message = without(content_of(node.message), NODE_NAME)
    pieces = write_model(model, Inline(model.folder))
    if sum(map(len, pieces)) > _LARGE:
        beside = Beside(model.folder, f"{target.name}.data")
        pieces = write_model(model, beside)
        write_pieces(beside.pieces, target.with_name(f"{target.name}.data"))
    write_pieces(pieces, target)


def _values(graph: Graph) -> Iterator[Value]:
    graphs = [graph, *itertools.chain.from_iterable(node.bodies for node in all_nodes(graph))]
    seen: set[Value] = set()
    for each in graphs:
        outputs = (value for node in each for value in node.outputs)
        for value in (*each.inputs, *each.initializers, *outputs):
            if value not in seen:
                seen.add(value)
                yield value
