"""Cuts a whole ONNX file in two at a place of its node list, and runs the two in a chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

from partition_core.graph.files import cut_between

Values = dict[str, Any]


@dataclass(frozen=True)
class Cut:
    """A cut in front of the node number `position`: the tensors that each half reads and gives."""

    position: int
    first: tuple[str, ...]
    across: tuple[str, ...]
    second: tuple[str, ...]
    outputs: tuple[str, ...]


def reads_of(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names that `node` reads, also those that its bodies capture."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for body in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else ())):
            own = {item.name for item in (*body.input, *body.initializer)}
            own |= {name for inner in body.node for name in inner.output}
            inside = [name for inner in body.node for name in reads_of(inner)]
            yield from (n for n in (*inside, *(o.name for o in body.output)) if n not in own)


def needs(nodes: Sequence[onnx.NodeProto], ends: Sequence[str]) -> set[str]:
    """Return the names outside `nodes` that `ends` need, `ends` themselves where no node is."""
    needed = set(ends)
    for node in reversed(nodes):
        if needed & {name for name in node.output if name}:
            needed |= set(reads_of(node))
    return needed - {name for node in nodes for name in node.output}


def cuts(graph: onnx.GraphProto, most: int) -> list[Cut]:
    """Return up to `most` cuts of `graph` that have a tensor to cross and something behind it.

    A constant does not cross: each half that reads one has it.
    """
    constant = {item.name for item in graph.initializer}
    constant |= {item.values.name for item in graph.sparse_initializer}
    inputs = [item.name for item in graph.input if item.name not in constant]
    live = set(inputs)
    for node in graph.node:
        if live & set(reads_of(node)) or node.op_type.startswith("Random"):
            live.update(node.output)
    outputs = [item.name for item in graph.output]
    count = len(graph.node)
    chosen = {1, count // 2, count - 1} | set(range(1, count, max(1, count // most)))
    found: dict[tuple[str, ...], Cut] = {}
    for position in sorted(at for at in chosen if 0 < at < count):
        before, after = graph.node[:position], graph.node[position:]
        kept = [node for node in before if not live & set(node.output)]
        wanted = needs([*kept, *after], outputs)
        made = [name for node in before for name in node.output if name in live]
        across = tuple(name for name in made if name in wanted)
        if not across or not any(live & set(node.output) for node in after):
            continue
        first = needs(before, across)
        entering = tuple(name for name in inputs if name in wanted)
        cut = Cut(
            position,
            tuple(name for name in inputs if name in first),
            across,
            (*across, *entering),
            tuple(outputs),
        )
        found.setdefault(across, cut)
    return list(found.values())[:most]


def cut_in_two(source: Path, cut: Cut, folder: Path, **how: Any) -> tuple[Path, Path]:
    """Write both halves of `source`, checked, into `folder`."""
    first, second = folder / "first.onnx", folder / "second.onnx"
    cut_between(source, cut.first, cut.across, first, **how)
    cut_between(source, cut.second, cut.outputs, second, **how)
    for half in (first, second):
        onnx.checker.check_model(str(half), full_check=True)
    return first, second


def run(model: Path, feeds: Mapping[str, Any], most: int = 1) -> Values:
    """Run `model` in onnxruntime without optimizations, on what it reads of `feeds`."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = most
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    needed = {item.name: feeds[item.name] for item in session.get_inputs()}
    return dict(zip(names, session.run(names, needed), strict=True))


def evaluate(model: Path, feeds: Mapping[str, Any]) -> Values:
    """Run `model` in onnx's own evaluator, on what it reads of `feeds`."""
    session = ReferenceEvaluator(str(model))
    needed = {name: feeds[name] for name in session.input_names}
    return dict(zip(session.output_names, session.run(None, needed), strict=True))


def equal(one: Any, two: Any) -> bool:
    """Return whether two values of a run are the same bit for bit, also inside sequences."""
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(equal, one, two))
    if one is None or two is None:
        return one is two
    left, right = np.asarray(one), np.asarray(two)
    if left.dtype == object:
        return left.tolist() == right.tolist()
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and left.tobytes() == right.tobytes()
    )
