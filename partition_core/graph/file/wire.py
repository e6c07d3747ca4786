"""Reads and writes the protobuf wire format; must not know ONNX.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from partition_core.base.errors import CutError, problem
from partition_core.graph.file.byte_range import Piece, Range, content_of

VARINT, FIXED64, SIZED, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_LONGEST_HEAD = 20
_READ_WHOLE = 1 << 16
_IN_A_ROW = 1 << 18
_AFTER_A_JUMP = 1 << 12
_NOTHING: frozenset[int] = frozenset()

Field = tuple[int, int | Piece]
"""A field as in the file: its key, which is 8 times its number plus its wire type, and its value:
an int for a varint, bytes or a range for anything else."""


class WireError(CutError):
    """Bytes that are not a protobuf message."""

    def __init__(self, what: str) -> None:
        super().__init__(problem("", f"it is not an ONNX file: {what}"))
        self.what = what


def fields(message: Piece, unread: Collection[int] = _NOTHING) -> list[Field]:
    """Return the fields of `message` in its order; raises WireError and EOFError.

    If `message` is a range, the values of fields with a number in `unread`, and all longer than
    64 KiB, are ranges: their bytes are not read.
    """
    if isinstance(message, bytes):
        return _fields_of_bytes(message)
    if message.length <= _READ_WHOLE and not unread:
        return _fields_of_bytes(message.read())
    return _fields_of_range(message, unread)


def _fields_of_bytes(data: bytes) -> list[Field]:
    # The hot loop: a model of 100,000 nodes has a million fields.
    result: list[Field] = []
    add = result.append
    at, end = 0, len(data)
    try:
        while at < end:
            key = data[at]
            at += 1
            if key > 127:
                key, at = varint_at(data, at - 1)
            kind = key & 7
            if kind == SIZED:
                size = data[at]
                at += 1
                if size > 127:
                    size, at = varint_at(data, at - 1)
                if at + size > end:
                    raise WireError("a field is longer than its message")
                add((key, data[at : at + size]))
                at += size
            elif kind == VARINT:
                value = data[at]
                at += 1
                if value > 127:
                    value, at = varint_at(data, at - 1)
                add((key, value))
            else:
                size = _fixed_size(kind)
                if at + size > end:
                    raise WireError("a field is longer than its message")
                add((key, data[at : at + size]))
                at += size
    except IndexError:
        raise WireError("a field is longer than its message") from None
    return result


def _fields_of_range(message: Range, unread: Collection[int]) -> list[Field]:
    result: list[Field] = []
    source = message.source
    start, data = message.start, b""
    at, end = message.start, message.start + message.length
    while at < end:
        index = at - start
        if index + _LONGEST_HEAD > len(data) and start + len(data) < end:
            # After a jump over unread bytes, only a little is read.
            chunk = _IN_A_ROW if data and index <= len(data) else _AFTER_A_JUMP
            start, data, index = at, source.read(at, min(chunk, end - at)), 0
        try:
            key, after = varint_at(data, index)
            kind = key & 7
            if kind in (SIZED, VARINT):
                value, after = varint_at(data, after)
            else:
                value = _fixed_size(kind)
        except IndexError:
            raise WireError("a field is longer than its message") from None
        at += after - index
        if kind == VARINT:
            result.append((key, value))
            continue
        if at + value > end:
            raise WireError("a field is longer than its message")
        if value > _READ_WHOLE or key >> 3 in unread:
            result.append((key, Range(source, at, value)))
        elif after + value <= len(data):
            result.append((key, data[after : after + value]))
        else:
            result.append((key, Range(source, at, value).read()))
        at += value
    return result


def varint_at(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned number at `at`, and where it ends; raises IndexError and WireError."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise WireError("a number has more than 64 bits")


def _fixed_size(kind: int) -> int:
    if kind not in _FIXED:
        raise WireError(f"there is no wire type {kind}")
    return _FIXED[kind]


def signed(value: int) -> int:
    """Return the int64 with the bits of the unsigned `value`."""
    return value - (1 << 64) if value >> 63 else value


def varint(value: int) -> bytes:
    """Return `value`, an int64 or uint64, as a varint."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    if value < 128:
        return bytes((value,))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def entry_of(content: bytes) -> tuple[str, str]:
    """Return the key and the value of a StringStringEntryProto."""
    return text(part_of(content, 1) or b""), text(part_of(content, 2) or b"")


def integers(values: Iterable[Field], number: int) -> list[int]:
    """Return the int64 values of a repeated field, packed or not."""
    numbers: list[int] = []
    for key, value in values:
        if key >> 3 != number:
            continue
        if isinstance(value, int):
            numbers.append(signed(value))
            continue
        packed, at = content_of(value), 0
        while at < len(packed):
            unsigned, at = varint_at(packed, at)
            numbers.append(signed(unsigned))
    return numbers


def text(value: int | Piece) -> str:
    """Return the text of a string field; bytes that are not UTF-8 survive a round trip."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, int):
        raise WireError("it has a number where a string is expected")
    return value.read().decode("utf-8", "surrogateescape")


def piece(value: int | Piece) -> Piece:
    """Return the bytes of a field that holds bytes or a message; raises WireError."""
    if isinstance(value, int):
        raise WireError("it has a number where bytes are expected")
    return value


def number(value: int | Piece) -> int:
    """Return the int64 of a field that holds one; raises WireError."""
    if not isinstance(value, int):
        raise WireError("it has bytes where a number is expected")
    return signed(value)


def sized(number: int, content: bytes) -> bytes:
    """Return the field `number` that holds `content`: bytes or a message."""
    return varint(number << 3 | SIZED) + varint(len(content)) + content


def named(number: int, value: str) -> bytes:
    """Return the field `number` that holds a string."""
    return sized(number, value.encode("utf-8", "surrogateescape"))


def counted(number: int, value: int) -> bytes:
    """Return the field `number` that holds an integer."""
    return varint(number << 3) + varint(value)


def written(key: int, value: int | Piece) -> list[Piece]:
    """Return a field as it was read, as pieces."""
    if isinstance(value, int):
        return [varint(key) + varint(value)]
    head = varint(key) + (varint(len(value)) if key & 7 == SIZED else b"")
    return [head + value] if isinstance(value, bytes) else [head, value]


def message(number: int, parts: Iterable[Piece]) -> list[Piece]:
    """Return the field `number` that holds the message made of `parts`."""
    inside = list(parts)
    return [varint(number << 3 | SIZED) + varint(sum(map(len, inside))), *inside]


def in_order(parts: Iterable[tuple[int, list[Piece]]]) -> list[Piece]:
    """Return the pieces of fields, each with its number, in the order of the numbers."""
    return [item for _, pieces in sorted(parts, key=lambda part: part[0]) for item in pieces]


def changed(content: bytes, changes: Mapping[int, Callable[[bytes], bytes]]) -> bytes:
    """Return the message `content` with the fields of some numbers passed through a function."""
    return b"".join(
        sized(key >> 3, changes[key >> 3](content_of(piece(value))))
        if key >> 3 in changes
        else b"".join(map(content_of, written(key, value)))
        for key, value in fields(content)
    )


def without(content: bytes, *numbers: int) -> bytes:
    """Return the message `content` without the fields of some numbers."""
    return b"".join(
        content_of(part)
        for key, value in fields(content)
        if key >> 3 not in numbers
        for part in written(key, value)
    )


def part_of(content: bytes, number: int) -> bytes | None:
    """Return the message in the field `number` of `content`, all occurrences merged, or None."""
    parts = [content_of(piece(value)) for key, value in fields(content) if key >> 3 == number]
    return b"".join(parts) if parts else None
