"""Describes places where a model could be cut, for messages: tensors, and the line of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from partition_core.base.errors import quoted
from partition_core.base.wording import first_of
from partition_core.graph.costs import TypeOf, types_of
from partition_core.graph.file.attributes import module_of
from partition_core.graph.file.graph import Model, Node, Value
from partition_core.graph.file.value_type import DTYPES
from partition_core.graph.marks import readers_of
from partition_core.graph.tail import Tail

_MOST_LISTED = 12

Candidates = Sequence[tuple[str, Tail]]
"""Where a model could be cut, in words, and what lies behind that."""


def candidates_text(model: Model, is_file: bool, candidates: Candidates) -> str:
    """Return what could be cut instead: each tensor with its type, its maker and its readers.

    Of an ONNX file (`is_file`) also the line for its recipe; a traced model is cut at marks.
    """
    type_in, readers = types_of(model), readers_of(model.graph)
    texts = []
    for where, tail in candidates:
        described = first_of([_described(v, type_in, readers) for v in tail.heads], _MOST_LISTED)
        inputs, heads = _names(tail.inputs), _names(tail.heads)
        yaml = f"partition: {{save_file: network.onnx, from: [{inputs}], to: [{heads}]}}"
        texts.append(f"{where}: `{yaml}` ({described})" if is_file else f"{where}: {described}")
    return f"{'choose' if is_file else 'mark the module or function'} {', or '.join(texts)}"


def _described(value: Value, type_in: TypeOf, readers: Mapping[Value, Sequence[Node]]) -> str:
    kind = type_in(value)
    dims = list(kind.dims) if kind is not None and kind.dims is not None else "of unknown rank"
    dtype = DTYPES.get(kind.dtype, "undefined") if kind is not None else "undefined"
    maker = value.producer
    source = maker.op_type if maker is not None else "input"
    if maker is not None and (module := module_of(maker)):
        source += f" of module {quoted(module)}"
    operators = dict.fromkeys(node.op_type for node in readers.get(value, ()))
    read_by = " and ".join(operators) or "nothing"
    return f"{quoted(value.name)} is {dtype} {dims} from {source}, read by {read_by}"


def _names(values: Iterable[Value]) -> str:
    return ", ".join(quoted(value.name) for value in values)
