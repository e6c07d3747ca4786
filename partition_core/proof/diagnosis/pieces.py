"""Pieces of a segment as ONNX files: up to a tensor, or a few nodes alone."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import numpy_helper

from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.arrays import Array, Arrays
from partition_core.graph.external import locations
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.files import DataPlacement, cut_between
from partition_core.graph.marks import live_nodes
from partition_core.graph.model_inputs import inputs_of
from partition_core.graph.more_outputs import with_outputs
from partition_core.graph.walk import reads, walk_back

PREFIX = "prefix.onnx"
_MOST_PAIRS = 8
_CONSTANTS_ARE_NO_INPUTS = 4  # the IR version


@dataclass
class Source:
    """The segment in `file`, the inputs of one sample, and a folder for what is in between."""

    file: Path
    fed: Arrays
    scratch: Path
    model: Model = field(init=False)
    _known: dict[str, Array] = field(init=False)

    def __post_init__(self) -> None:
        """Read the file."""
        self.model = read_model(self.file)
        self._known = dict(self.fed)

    @property
    def placement(self) -> DataPlacement:
        """Where the weights of pieces are: beside them if those of the segment are."""
        return "external" if locations(self.model) else "inline"

    def cut(self, starts: Sequence[str], end: str, target: Path) -> Path:
        """Cut what lies between tensors into `target` and return it; raises CutError."""
        cut_between(self.file, starts, [end], target, weights=self.placement, check=False)
        return target

    def prefix(self, end: Value, folder: Path) -> tuple[Path, Arrays]:
        """Cut what `end` is computed from into a file in `folder`; return it with its inputs.

        Raises CutError.
        """
        starts = inputs_of(self.model)
        needed = walk_back(self.model.graph, starts.values(), [end]).needed_starts
        names = [name for name, value in starts.items() if value in needed]
        file = self.cut(names, end.name, folder / PREFIX)
        return file, {name: self.fed[name] for name in names}

    def true_values(self, names: Sequence[str]) -> dict[str, Array]:
        """Return what onnxruntime computes for tensors in the whole segment."""
        if lacking := [name for name in names if name not in self._known]:
            given = {value.name for value in self.model.graph.outputs}
            more = [name for name in lacking if name not in given]
            file = with_outputs(self.file, more, self.scratch / "observed.onnx")
            beside = self.file.parent if locations(self.model) else None
            run = Plain(self.file.name, data=beside).load(file)
            self._known |= {name: array for name, array in run(self.fed).items() if name in lacking}
            file.unlink()
        return {name: self._known[name] for name in names}

    def piece(self, nodes: Collection[Node], end: Value, target: Path) -> tuple[Path, Arrays]:
        """Write `nodes` up to the tensor `end` to `target`; return it with its true inputs.

        Integers and booleans that the segment computes are constants in it, as converters make them
        where sizes are known. Raises CutError.
        """
        starts = self._starts(nodes, end)
        own = inputs_of(self.model)
        arrays = self.true_values(starts)
        self.cut(starts, end.name, target)
        frozen = [name for name in starts if name not in own and arrays[name].dtype.kind in "iub"]
        _with_constants(target, {name: arrays.pop(name) for name in frozen})
        return target, arrays

    def _starts(self, nodes: Collection[Node], end: Value) -> list[str]:
        """Return the names of what some nodes read of others, or of the segment's inputs."""
        inside = set(nodes)
        live = {value for node in self.live for value in node.outputs}
        live.update(inputs_of(self.model).values())
        read = {value for node in nodes for value in reads(node) if value in live}
        outer = [value for value in read if value.producer not in inside]
        needed = walk_back(self.model.graph, outer, [end]).needed_starts
        return sorted(value.name for value in needed)

    @functools.cached_property
    def live(self) -> list[Node]:
        """The nodes that depend on an input, in order."""
        return live_nodes(self.model.graph)

    @functools.cached_property
    def order(self) -> dict[Node, int]:
        """The position of each of them."""
        return {node: number for number, node in enumerate(self.live)}


def grown(source: Source, region: Sequence[Node]) -> Iterator[tuple[Node, ...]]:
    """Yield `region` and what it becomes by its latest producer, again and again.

    The latest producer is no part of a path that leaves the nodes and comes back.
    """
    order = source.order
    nodes = sorted(region, key=order.__getitem__)
    while True:
        yield tuple(nodes)
        if not (outside := _producers(source, nodes)):
            return
        nodes = sorted([*nodes, outside[-1]], key=order.__getitem__)


def with_each_producer(source: Source, region: Sequence[Node]) -> Iterator[tuple[Node, ...]]:
    """Yield `region` with each of the nodes that it reads from, the first of them `_MOST_PAIRS`."""
    for producer in _producers(source, region)[:_MOST_PAIRS]:
        yield tuple(sorted([*region, producer], key=source.order.__getitem__))


def _producers(source: Source, nodes: Collection[Node]) -> list[Node]:
    """Return the nodes that some others read from, in the order of the graph."""
    read = {value.producer for node in nodes for value in reads(node)}
    outside = [each for each in read if each is not None and each in source.order]
    return sorted((each for each in outside if each not in nodes), key=source.order.__getitem__)


def without(nodes: Sequence[Node], left_out: Node) -> tuple[Node, ...]:
    """Return the nodes that still lead to the last one if one of them is left out."""
    kept = [node for node in nodes if node is not left_out]
    leading = [kept[-1]]
    for node in reversed(kept[:-1]):
        read = {value for each in leading for value in reads(each)}
        if not read.isdisjoint(node.outputs):
            leading.append(node)
    return tuple(reversed(leading))


def _with_constants(file: Path, arrays: Arrays) -> None:
    """Replace inputs of a file by constants, and its nodes Constant too."""
    model = onnx.load(file)
    graph = model.graph
    given = {each.name for each in graph.output}
    for name, array in arrays.items():
        graph.initializer.append(numpy_helper.from_array(array, name))
        graph.input.remove(next(each for each in graph.input if each.name == name))
    for node in [each for each in graph.node if each.op_type == "Constant"]:
        value = next((each.t for each in node.attribute if each.name == "value"), None)
        if value is not None and node.output[0] not in given:
            constant = graph.initializer.add()
            constant.CopyFrom(value)
            constant.name = node.output[0]
            graph.node.remove(node)
    model.ir_version = max(model.ir_version, _CONSTANTS_ARE_NO_INPUTS)
    beside = file.with_name(f"{file.name}.data")
    is_split = beside.is_file()
    beside.unlink(missing_ok=True)  # else it would be appended to
    onnx.save(model, file, save_as_external_data=is_split, location=beside.name)
