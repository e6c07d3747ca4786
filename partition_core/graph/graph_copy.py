"""Copies parts of a graph without their Mark nodes; must not know segments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from partition_core.graph.file.graph import Annotation, Function, Graph, Node, Value
from partition_core.graph.file.value_type import with_symbols
from partition_core.graph.marks import as_identity, has_16_bits, is_mark


class Copy:
    """A copy under construction: `twins` maps each copied value to its copy.

    A node that reads a Mark node in the original reads the unmarked value in the copy. `rename` is
    applied to every symbolic dim; a node in `substitutes` reads that value as its first input.
    """

    def __init__(
        self,
        rename: Callable[[str], str] | None = None,
        substitutes: Mapping[Node, Value] = MappingProxyType({}),
    ) -> None:
        self.twins: dict[Value, Value] = {}
        self._rename = rename
        self._substitutes = substitutes

    def value(self, value: Value, is_input: bool = False) -> Value:
        """Return a new twin of `value`; as an input it holds no weight."""
        twin = self._twin(value)
        twin.tensor = None if is_input else value.tensor
        twin.is_input = is_input
        self.twins[value] = twin
        return twin

    def nodes(self, nodes: Iterable[Node], results: Collection[Value]) -> list[Node]:
        """Return the copies of `nodes`, without Mark nodes.

        A Mark node that makes one of `results` is kept, as Identity: a body or a function may not
        return an outer value, nor one value twice. So is a Mark node of 16 bits: how onnxruntime
        rounds these also depends on nodes that compute nothing.
        """
        originals = [
            node
            for node in nodes
            if not is_mark(node) or node.outputs[0] in results or has_16_bits(node)
        ]
        twins = [(as_identity(node) if is_mark(node) else node).twin() for node in originals]
        for node, twin in zip(originals, twins, strict=True):
            for value in node.outputs:
                output = self._twin(value)
                output.producer = twin
                twin.outputs.append(output)
                self.twins.setdefault(value, output)
        for node, twin in zip(originals, twins, strict=True):
            inputs = [self._substitutes[node]] if node in self._substitutes else node.inputs
            twin.inputs = [None if value is None else self.read(value) for value in inputs]
            if node.bodies:
                twin.bodies = [self.graph(body) for body in node.bodies]
        return twins

    def graph(self, graph: Graph) -> Graph:
        """Return the copy of a body."""
        inputs = [self._inner(value) for value in graph.inputs]
        initializers = [self.twins.get(value) or self._inner(value) for value in graph.initializers]
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
        """Return the copy of `value` that a copied node reads."""
        while value not in self.twins:
            node = value.producer
            if node is None or not is_mark(node) or node.inputs[0] is None:
                return self.value(value)  # the model is not valid: nothing makes the value
            value = node.inputs[0]
        return self.twins[value]

    def annotations(self, annotations: Iterable[Annotation]) -> list[Annotation]:
        """Return the annotations of the values that were copied."""
        return [
            Annotation(self.twins[old.value], [(key, self.twins[v]) for key, v in old.parameters])
            for old in annotations
            if old.value in self.twins and all(v in self.twins for _, v in old.parameters)
        ]

    def _inner(self, value: Value) -> Value:
        twin = self.value(value)
        twin.is_input = value.is_input
        return twin

    def _twin(self, value: Value) -> Value:
        return Value(value.name, self._renamed(value.info))

    def _renamed(self, info: bytes) -> bytes:
        return with_symbols(info, self._rename) if self._rename and info else info


def copied_function(function: Function, imports: dict[str, int]) -> Function:
    """Return a copy of `function` without Mark nodes, with other opset imports."""
    graph = Copy().graph(function.graph)
    return replace(function, graph=graph, opset_imports=imports, message=None)
