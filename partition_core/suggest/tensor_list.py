"""Lists the tensors that a model can be cut at, as a table and as JSON."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from partition_core.base.errors import BuildError, suggestion
from partition_core.base.wording import columns, size_text
from partition_core.graph.costs import tensor_bytes, types_of
from partition_core.graph.file.attributes import module_of
from partition_core.graph.file.graph import Model
from partition_core.graph.file.value_type import DTYPES
from partition_core.graph.marks import live_nodes, readers_of, unmarked_value

_COLUMNS = ("tensor", "operator", "module", "dtype", "dims", "bytes", "read by")
_RIGHT = frozenset([5])


@dataclass(frozen=True)
class CutTensor:
    """A tensor that a segment can start or end at.

    `tensor` is its name, in a given ONNX file that of the file. `node` and `operator` are those
    that make it, `module` the module of a traced model. `bytes` is None where a dim is free.
    `readers` are the operators that read it; none for what only the model gives.
    """

    tensor: str
    node: str
    operator: str
    module: str
    dtype: str
    dims: tuple[int | str | None, ...]
    bytes: int | None
    readers: tuple[str, ...]


def cut_tensors(model: Model, pattern: str = "*") -> list[CutTensor]:
    """Return the tensors of the main graph that depend on an input, in its order.

    Left out are those whose dtype or rank nobody knows. `pattern` is one of a shell, for names of
    tensors, nodes and modules. Raises BuildError if nothing fits it.
    """
    type_in = types_of(model)
    names = {unmarked_value(value): value.name for value in model.graph.outputs}
    readers = readers_of(model.graph)
    every = []
    for node in live_nodes(model.graph):
        for value in node.outputs:
            kind = type_in(value) if value.name else None
            if kind is None or kind.composed or kind.dims is None or kind.dtype not in DTYPES:
                continue
            every.append(
                CutTensor(
                    names.get(value, value.name),
                    node.name,
                    node.op_type,
                    module_of(node),
                    DTYPES[kind.dtype],
                    kind.dims,
                    tensor_bytes(kind, {}),
                    tuple(reader.op_type for reader in readers.get(value, ())),
                )
            )
    chosen = [each for each in every if _fits(each, pattern)]
    if not chosen:
        known = {each.tensor for each in every} | {each.node for each in every}
        near = suggestion(pattern, known)
        what = "no tensor that the model can be cut at has such a name, node or module"
        raise BuildError.at(f"match={pattern}", what, "expected a pattern such as '*conv*'", near)
    return chosen


def tensor_lines(tensors: Sequence[CutTensor]) -> Iterator[str]:
    """Yield the table of tensors, a line for each."""
    rows = [
        (
            each.tensor,
            each.operator,
            each.module,
            each.dtype,
            "x".join("?" if dim is None else str(dim) for dim in each.dims) or "scalar",
            "?" if each.bytes is None else size_text(each.bytes),
            ", ".join(dict.fromkeys(each.readers)),
        )
        for each in tensors
    ]
    return columns([_COLUMNS, *rows], _RIGHT)


def tensor_json(tensors: Sequence[CutTensor]) -> bytes:
    """Return the tensors as a JSON list of objects with the fields of `CutTensor`."""
    return (json.dumps([asdict(each) for each in tensors], indent=1) + "\n").encode()


def _fits(tensor: CutTensor, pattern: str) -> bool:
    named = (tensor.tensor, tensor.node, tensor.module)
    return any(fnmatch.fnmatchcase(name, pattern) for name in named)
