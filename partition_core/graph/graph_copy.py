"""Copies parts of a graph without their Mark nodes; must not know segments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from partition_core.graph.file.graph import Annotation, Function, Graph, Node, Value
from partition_core.graph.file.value_type import with_symbols
from partition_core.graph.marks import as_identity, has_16_bits, is_mark


class Copy:
    """A copy in the making: `of` maps each value that was copied to its twin.

    Who reads a Mark node in the original reads what it carries in the copy. `rename` is applied
    to every symbolic dim; a node in `instead` reads that value in the place of its first input.
    """

    def __init__(
        self,
        rename: Callable[[str], str] | None = None,
        instead: Mapping[Node, Value] = MappingProxyType({}),
    ) -> None:
        self.of: dict[Value, Value] = {}
        self._rename = rename
        self._instead = instead

    def value(self, value: Value, is_input: bool = False) -> Value:
        """Return the twin of `value`, made now; as an input it holds no weight."""
        made = self._twin(value)
        made.tensor = None if is_input else value.tensor
        made.is_input = is_input
        self.of[value] = made
        return made

    def nodes(self, nodes: Iterable[Node], results: Collection[Value]) -> list[Node]:
        """Return the copies of `nodes` but for Mark nodes.

        A Mark node that makes one of `results` stays, as Identity: a body or a function may not
        return a value from outside it, nor one value twice. So does one of 16 bits, as where
        onnxruntime rounds these depends on the nodes that compute nothing too.
        """
        kept = [
            node
            for node in nodes
            if not is_mark(node) or node.outputs[0] in results or has_16_bits(node)
        ]
        made = [(as_identity(node) if is_mark(node) else node).twin() for node in kept]
        for node, twin in zip(kept, made, strict=True):
            for value in node.outputs:
                output = self._twin(value)
                output.producer = twin
                twin.outputs.append(output)
                self.of.setdefault(value, output)
        for node, twin in zip(kept, made, strict=True):
            read = [self._instead[node]] if node in self._instead else node.inputs
            twin.inputs = [None if value is None else self.read(value) for value in read]
            if node.bodies:
                twin.bodies = [self.graph(body) for body in node.bodies]
        return made

    def graph(self, graph: Graph) -> Graph:
        """Return the copy of a body."""
        inputs = [self._inner(value) for value in graph.inputs]
        initializers = [self.of.get(value) or self._inner(value) for value in graph.initializers]
        return replace(
            graph,
            inputs=inputs,
            initializers=initializers,
            nodes=self.nodes(graph.nodes, graph.outputs),
            outputs=[self.read(value) for value in graph.outputs],
            output_infos=[self._renamed(info) for info in graph.output_infos],
            annotations=self.annotations(graph.annotations),
        )

    def read(self, value: Value) -> Value:
        """Return what stands for `value` where a copied node reads it."""
        while value not in self.of:
            node = value.producer
            if node is None or not is_mark(node) or node.inputs[0] is None:
                return self.value(value)  # the model is not valid: nothing makes the value
            value = node.inputs[0]
        return self.of[value]

    def annotations(self, annotations: Iterable[Annotation]) -> list[Annotation]:
        """Return the annotations of the values that were copied."""
        return [
            Annotation(self.of[one.value], [(key, self.of[v]) for key, v in one.parameters])
            for one in annotations
            if one.value in self.of and all(v in self.of for _, v in one.parameters)
        ]

    def _inner(self, value: Value) -> Value:
        made = self.value(value)
        made.is_input = value.is_input
        return made

    def _twin(self, value: Value) -> Value:
        return Value(value.name, self._renamed(value.info))

    def _renamed(self, info: bytes) -> bytes:
        return with_symbols(info, self._rename) if self._rename and info else info


def copied_function(function: Function, imports: dict[str, int]) -> Function:
    """Return a copy of `function` without Mark nodes, with other opset imports."""
    graph = Copy().graph(function.graph)
    return replace(function, graph=graph, opset_imports=imports, message=None)
