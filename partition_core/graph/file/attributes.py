"""Reads the attributes of a node that are integers, strings or tensors, and the module that it
comes from; must not know graphs."""

from __future__ import annotations

from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.graph import Node
from partition_core.graph.file.graph_reader import ATTRIBUTES, TENSOR
from partition_core.graph.file.tensor import Tensor, read_tensor
from partition_core.graph.file.wire import entry_of, fields, integers, number, piece, text

MODULE = "module"
"""The key of a node's metadata that holds the path of its module, with dots."""
_METADATA = 9  # the field of NodeProto

Attribute = int | str | tuple[int, ...]

# Field numbers of AttributeProto, and the values of its field `type`.
NAME, INT, TEXT, INTS, TYPE = 1, 3, 4, 8, 20
IS_INT, IS_TEXT, IS_INTS = 2, 3, 7


def attributes_of(node: Node) -> dict[str, Attribute]:
    """Return the attributes of `node` that are an integer, a string or a list of integers."""
    attributes: dict[str, Attribute] = {}
    for key, message in fields(node.message):
        if key >> 3 != ATTRIBUTES:
            continue
        inside = fields(piece(message))
        last = {inner >> 3: value for inner, value in inside}
        name, kind = text(last.get(NAME, b"")), last.get(TYPE)
        if kind == IS_INT:
            attributes[name] = number(last.get(INT, 0))
        elif kind == IS_TEXT:
            attributes[name] = text(last.get(TEXT, b""))
        elif kind == IS_INTS:
            attributes[name] = tuple(integers(inside, INTS))
    return attributes


def module_of(node: Node) -> str:
    """Return the dotted path of the module that a node comes from, empty if it does not say."""
    return metadata_of(node).get(MODULE, "")


def metadata_of(node: Node) -> dict[str, str]:
    """Return the metadata of `node`."""
    return dict(
        entry_of(content_of(piece(value)))
        for key, value in fields(node.message)
        if key >> 3 == _METADATA
    )


def tensors_of(node: Node) -> list[Tensor]:
    """Return the tensors that are attributes of `node`."""
    return [
        read_tensor(piece(value))
        for key, message in fields(node.message)
        if key >> 3 == ATTRIBUTES
        for inner, value in fields(piece(message))
        if inner >> 3 == TENSOR
    ]
