"""Reads and rewrites the ValueInfoProto of a value; must not know graphs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from partition_core.graph.file.byte_range import content_of
from partition_core.graph.file.wire import (
    WireError,
    changed,
    counted,
    fields,
    named,
    number,
    part_of,
    piece,
    sized,
    text,
    without,
)

Dim = int | str | None

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    8: "string", 9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
    14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8e4m3fn", 18: "float8e4m3fnuz",
    19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4", 23: "float4e2m1",
    24: "float8e8m0", 25: "uint2", 26: "int2", 27: "float6e2m3", 28: "float6e3m2",
}  # fmt: skip
"""The data types of ONNX, as the manifest names them."""
_BITS = {
    **dict.fromkeys((25, 26), 2), **dict.fromkeys((21, 22, 23), 4), **dict.fromkeys((27, 28), 6),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8), **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32), **dict.fromkeys((7, 11, 13, 14), 64), 15: 128,
}  # fmt: skip

# Field numbers: of ValueInfoProto; of TypeProto, the kinds of types; of its tensor types, of a
# shape and of a dim.
_NAME, _TYPE = 1, 2
_TENSOR, _SEQUENCE, _MAP, _OPAQUE, _SPARSE, _OPTIONAL = 1, 4, 5, 7, 8, 9
_ELEMENT, _SHAPE, _MAP_VALUE = 1, 2, 2
_DIM = 1
_SIZE, _SYMBOL = 1, 2
_DEEPEST = 20
_WITH_SHAPE = (_TENSOR, _SPARSE)
_NEGATIVE = re.compile(rb"[\x80-\xff]{9}\x01")
_AROUND = {
    _SEQUENCE: ("seq", _ELEMENT),
    _OPTIONAL: ("optional", _ELEMENT),
    _MAP: ("map", _MAP_VALUE),
}


@dataclass(frozen=True)
class ValueType:
    """The type of a value. `dims` are sizes, symbols or None for unknown; None without a rank.

    `dtype` is ONNX's number, 0 if it is not a tensor; `text` names the type for people:
    `float32`, `seq(float32)`.
    """

    text: str
    dtype: int = 0
    dims: tuple[Dim, ...] | None = None

    @property
    def composed(self) -> bool:
        """Whether it is not a tensor, but a sequence, an optional or a map."""
        return "(" in self.text or self.text == "opaque"


def byte_size(dtype: int, dims: Sequence[int]) -> int | None:
    """Return how many bytes a tensor takes as raw data, or None for strings and unknown types."""
    bits = _BITS.get(dtype)
    if bits is None:
        return None
    for dim in dims:
        bits *= dim
    return (bits + 7) // 8


def type_of(info: bytes | None) -> ValueType | None:
    """Return the type in the ValueInfoProto `info`, None if there is none; raises WireError."""
    message = part_of(info or b"", _TYPE)
    return None if message is None else _value_type(message)


def symbols_in(info: bytes | None) -> list[str]:
    """Return every symbol of the shapes in `info`, also inside sequences; raises WireError."""
    symbols: list[str] = []

    def note(symbol: str) -> str:
        symbols.append(symbol)
        return symbol

    with_symbols(info or b"", note)
    return symbols


def with_name(info: bytes, name: str) -> bytes:
    """Return `info` for a value that is called `name`."""
    return named(_NAME, name) + without(info, _NAME)


def with_symbols(info: bytes, rename: Callable[[str], str]) -> bytes:
    """Return `info` with every symbol of its shapes replaced by what `rename` returns for it."""

    def symbol(content: bytes) -> bytes:
        return rename(text(content)).encode("utf-8", "surrogateescape") if content else b""

    return _with_dims(info, lambda content, _: changed(content, {_SYMBOL: symbol}))


def with_open_dims(info: bytes, name: str = "") -> bytes:
    """Return `info` with negative sizes as open dims, which is what exporters mean by them.

    Such a dim is named after `name` and its axis, or has no name if that is empty.
    """

    def opened(content: bytes, axis: int) -> bytes:
        sizes = [number(value) for key, value in fields(content) if key >> 3 == _SIZE]
        if not sizes or sizes[-1] >= 0:
            return content
        symbol = named(_SYMBOL, f"{name}_dim_{axis}") if name else b""
        return symbol + without(content, _SIZE, _SYMBOL)

    return _with_dims(info, opened) if _NEGATIVE.search(info) else info


def _with_dims(info: bytes, change: Callable[[bytes, int], bytes]) -> bytes:
    """Return `info` with each dim passed through `change`, which gets its axis as well."""

    def tensor(content: bytes) -> bytes:
        return changed(content, {_SHAPE: shape})

    def shape(content: bytes) -> bytes:
        axes = itertools.count()
        return changed(content, {_DIM: lambda dim: change(dim, next(axes))})

    depth = 0

    def any_type(content: bytes) -> bytes:
        nonlocal depth
        _check_depth(depth)
        depth += 1
        result = changed(content, kinds)
        depth -= 1
        return result

    def around(inner: int) -> Callable[[bytes], bytes]:
        return lambda content: changed(content, {inner: any_type})

    kinds: dict[int, Callable[[bytes], bytes]] = dict.fromkeys(_WITH_SHAPE, tensor)
    kinds |= {kind: around(inner) for kind, (_, inner) in _AROUND.items()}
    return changed(info, {_TYPE: any_type})


def tensor_info(name: str, dtype: int, dims: Sequence[Dim], of: bytes = b"") -> bytes:
    """Return the info of a tensor; other fields of `of` (denotations, doc string) are kept."""
    old = part_of(of, _TYPE) or b""
    old_shape = part_of(part_of(old, _TENSOR) or b"", _SHAPE) or b""
    notes = [content_of(piece(value)) for key, value in fields(old_shape) if key >> 3 == _DIM]
    notes += [b""] * len(dims)
    shape = b"".join(
        sized(_DIM, _dim_message(dim) + without(note, _SIZE, _SYMBOL))
        for dim, note in zip(dims, notes, strict=False)
    )
    tensor = sized(_TENSOR, counted(_ELEMENT, dtype) + sized(_SHAPE, shape))
    content = tensor + without(old, _TENSOR)
    return named(_NAME, name) + sized(_TYPE, content) + without(of, _NAME, _TYPE)


def _check_depth(depth: int) -> None:
    if depth > _DEEPEST:
        raise WireError(f"its types are nested more than {_DEEPEST} deep")


def _value_type(message: bytes, depth: int = 0) -> ValueType | None:
    _check_depth(depth)
    for key, value in fields(message):
        kind = key >> 3
        if kind in _WITH_SHAPE:
            dtype, dims = _tensor(content_of(piece(value)))
            name = DTYPES.get(dtype, "undefined")
            sparse = kind == _SPARSE
            return ValueType(f"sparse({name})", 0, dims) if sparse else ValueType(name, dtype, dims)
        if kind in _AROUND:
            name, inner = _AROUND[kind]
            content = part_of(content_of(piece(value)), inner)
            element = _value_type(content or b"", depth + 1)
            return ValueType(f"{name}({element.text if element else 'undefined'})")
        if kind == _OPAQUE:
            return ValueType("opaque")
    return None


def _tensor(message: bytes) -> tuple[int, tuple[Dim, ...] | None]:
    dtypes = [number(value) for key, value in fields(message) if key >> 3 == _ELEMENT]
    shape = part_of(message, _SHAPE)
    dims = [
        _dim(content_of(piece(value))) for key, value in fields(shape or b"") if key >> 3 == _DIM
    ]
    return (dtypes or [0])[-1], None if shape is None else tuple(dims)


def _dim(message: bytes) -> Dim:
    dim: Dim = None
    for key, value in fields(message):
        if key >> 3 == _SIZE:
            size = number(value)
            dim = size if size >= 0 else None
        elif key >> 3 == _SYMBOL:
            dim = text(value) or None
    return dim


def _dim_message(dim: Dim) -> bytes:
    if dim is None:
        return b""
    return counted(_SIZE, dim) if isinstance(dim, int) else named(_SYMBOL, dim)
