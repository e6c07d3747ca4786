"""Divides a model by what operators a runtime supports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from partition_core.base.errors import CutError
from partition_core.base.wording import first_of
from partition_core.graph.constants import Constants, constants_of
from partition_core.graph.costs import TypeOf, types_of
from partition_core.graph.file.attributes import attributes_of
from partition_core.graph.file.graph import Key, Model, Node
from partition_core.graph.file.value_type import DTYPES
from partition_core.graph.learned import operators_of
from partition_core.graph.marks import is_mark, unmarked_reads
from partition_core.graph.parts import Parts
from partition_core.recipe.parts import REST, SUPPORTED
from partition_core.recipe.values import OperatorCut, OperatorLimits

_AT = "partition.operators"
_MOST_LISTED = 12


@dataclass(frozen=True)
class Division:
    """The parts of a model and their names, in order, why nodes are not supported, and the
    constants of the model."""

    parts: Parts
    names: tuple[str, ...]
    unsupported: Mapping[Node, str]
    constants: Constants


def divided(model: Model, cut: OperatorCut) -> Division:
    """Return the fewest parts of a model, whose nodes are in order, that are supported in turn.

    Each operator with weights that is supported is in a supported part; the first one is as large
    as can be, and what follows without weights stays in the part that gives what it reads. Raises
    CutError if nothing with weights is supported.
    """
    constants = constants_of(model)
    nodes = [
        node
        for node in model.graph
        if not is_mark(node) and not all(value in constants for value in node.outputs)
    ]
    reasons = unsupported(model, constants, cut, nodes)
    learned = operators_of(model, constants).learned.intersection(nodes)
    if learned and learned <= set(reasons):
        raise _nothing_supported([node for node in nodes if node in learned], reasons)
    parts = _levels(nodes, reasons, learned)
    weightless = learned and all(parts[node] > 0 for node in learned)
    if reasons and weightless:
        parts = {node: max(part - 1, 0) for node, part in parts.items()}
    kinds = (REST, SUPPORTED) if reasons and weightless else (SUPPORTED, REST)
    names = (
        kinds[part % 2] + (f"_{part // 2 + 1}" if part > 1 else "")
        for part in range(max(parts.values(), default=0) + 1)
    )
    return Division(parts, tuple(names), reasons, constants)


def _levels(
    nodes: Sequence[Node], reasons: Mapping[Node, str], learned: set[Node]
) -> dict[Node, int]:
    """Return for each node its part, which is even if the part is supported."""
    levels: dict[Node, int] = {}
    for node in nodes:
        makers = (value.producer for value in unmarked_reads(node))
        level = max((levels[maker] for maker in makers if maker in levels), default=0)
        if node in reasons:
            level += (level + 1) % 2
        elif node in learned:
            level += level % 2
        levels[node] = level
    return levels


def unsupported(
    model: Model, constants: Constants, cut: OperatorCut, nodes: Sequence[Node]
) -> dict[Node, str]:
    """Return why nodes of the main graph are not supported, of those that are not."""
    check = _Check(model, constants, dict(cut.operators), types_of(model))
    first = {node: next(check.reasons(node), None) for node in nodes}
    return {node: f"{_operator(node)}{why}" for node, why in first.items() if why is not None}


@dataclass(frozen=True)
class _Check:
    """What decides whether a node is supported."""

    model: Model
    constants: Constants
    limits: Mapping[str, OperatorLimits]
    type_in: TypeOf

    def reasons(self, node: Node, within: tuple[Key, ...] = ()) -> Iterator[str]:
        """Yield why a node is not supported, itself or in what it runs, behind its operator."""
        function = self.model.functions.get(node.key)
        name = _operator(node)
        limits = self.limits.get(name)
        if limits is None and function is not None and node.key not in within:
            for inner in function.graph:
                yield from self._by_name(inner, (*within, node.key))
            return
        if limits is None:
            yield " is not in the list"
            return
        yield from self._attributes(node, limits)
        yield from self._tensors(node, limits)
        for body in node.bodies:
            for inner in body:
                yield from self._by_name(inner, within)

    def _by_name(self, node: Node, within: tuple[Key, ...]) -> Iterator[str]:
        """Yield why a node of a body or function is not supported; its types are not known."""
        name = _operator(node)
        if name not in self.limits and node.key not in self.model.functions:
            yield f": it contains {name}, which is not in the list"
        for inner in (
            *(each for body in node.bodies for each in body),
            *self._of_function(node, within),
        ):
            yield from self._by_name(inner, (*within, node.key))

    def _of_function(self, node: Node, within: tuple[Key, ...]) -> Iterator[Node]:
        function = self.model.functions.get(node.key)
        if function is not None and node.key not in within:
            yield from function.graph

    def _attributes(self, node: Node, limits: OperatorLimits) -> Iterator[str]:
        written = attributes_of(node) if limits.attributes else {}
        for name, allowed in limits.attributes:
            value = written[name] if name in written else self._default(node, name)
            plain = list(value) if isinstance(value, tuple) else value
            if plain not in json.loads(allowed):
                yield f": its attribute '{name}' is {json.dumps(plain)}"
        opset = self.model.opset_imports.get(node.domain, 1)
        if limits.opset and not limits.opset[0] <= opset <= limits.opset[-1]:
            yield f": its opset is {opset}"

    def _default(self, node: Node, name: str) -> Any:
        import onnx  # a cut between named tensors does without

        try:
            opset = self.model.opset_imports.get(node.domain, 1)
            schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
            value = onnx.helper.get_attribute_value(schema.attributes[name].default_value)
        except (onnx.defs.SchemaError, KeyError, ValueError):
            return None
        return value.decode() if isinstance(value, bytes) else value

    def _tensors(self, node: Node, limits: OperatorLimits) -> Iterator[str]:
        for number in limits.constant:
            value = node.inputs[number] if number < len(node.inputs) else None
            if value is not None and value not in self.constants:
                yield f": its input {number} is not constant"
        first = [value for value in node.inputs[:1] if value is not None]
        for value in first if limits.dtypes else ():
            kind = self.type_in(value)
            dtype = None if kind is None else DTYPES.get(kind.dtype)
            if dtype not in limits.dtypes:
                yield f": the dtype of '{value.name}' is {dtype or 'unknown'}"
        ranked = [value for value in first if value not in self.constants]
        ranked += [value for value in node.outputs if value.name]
        for value in ranked if limits.ranks else ():
            kind = self.type_in(value)
            dims = None if kind is None else kind.dims
            if dims is None or len(dims) not in limits.ranks:
                yield f": the rank of '{value.name}' is {'unknown' if dims is None else len(dims)}"


def reason_lines(division: Division) -> list[str]:
    """Return a line for each node that is not supported: its part, the reason and its name."""
    return [
        f"{division.names[division.parts[node]]}: {reason}{_named(node)}"
        for node, reason in division.unsupported.items()
    ]


def _named(node: Node) -> str:
    return f", node '{node.name}'" if node.name else ""


def _operator(node: Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _nothing_supported(learned: Sequence[Node], reasons: Mapping[Node, str]) -> CutError:
    lines = list(dict.fromkeys(reasons[node] for node in learned))
    what = "no operator with weights is supported by this list"
    return CutError.at(_AT, what, first_of(lines, _MOST_LISTED))
