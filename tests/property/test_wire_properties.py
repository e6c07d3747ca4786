"""The wire reader understands what onnx writes, and the writer gives back what was read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partition_core.base.errors import CutError
from partition_core.graph.file.byte_mover import write_pieces
from partition_core.graph.file.byte_range import File, Memory, Piece, Range, content_of
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.file.wire import (
    WireError,
    fields,
    integers,
    signed,
    text,
    varint,
    varint_at,
    written,
)
from tests.cutting.support import content_of as file_of

quick = settings(
    max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
words = st.text(max_size=200)
numbers = st.integers(-(2**63), 2**63 - 1)
contents = st.binary(max_size=300) | st.integers(60_000, 70_000).map(bytes)
CYCLIC = 4


@st.composite
def messages(draw: st.DrawFn, kind: Any, depth: int = 0) -> Message:
    """Draw a message of any type of onnx.proto, any of its fields set, some of them large."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        chance = draw(st.integers(0, 2 + depth))
        if chance > 1:
            continue
        count = draw(st.integers(1, 3)) if field.is_repeated else 1
        values = [draw(value_of(field, depth)) for _ in range(count) if can_hold(field, depth)]
        if not values:
            continue
        if field.is_repeated:
            getattr(message, field.name).extend(values)
        elif isinstance(values[0], Message):
            getattr(message, field.name).CopyFrom(values[0])
        else:
            setattr(message, field.name, values[0])
    return message


def can_hold(field: Any, depth: int) -> bool:
    return field.message_type is None or depth < CYCLIC


def value_of(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type._concrete_class, depth + 1)
    kinds = {
        field.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        field.CPPTYPE_INT64: numbers,
        field.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
        field.CPPTYPE_FLOAT: st.floats(width=32, allow_nan=False),
        field.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
        field.CPPTYPE_ENUM: st.just(1),
    }
    if field.cpp_type == field.CPPTYPE_STRING:
        return contents if field.type == field.TYPE_BYTES else words
    return kinds[field.cpp_type]


def read_as(message: Piece, descriptor: Any) -> dict[int, list[Any]]:
    """Return what `fields` reads, as plain values by field number."""
    found: dict[int, list[Any]] = {}
    by_number = {field.number: field for field in descriptor.fields}
    read = fields(message, unread=(1, 7))
    for key, value in read:
        field = by_number[key >> 3]
        if field.message_type is not None:
            assert not isinstance(value, int)
            plain: Any = read_as(value, field.message_type)
        elif isinstance(value, int):
            plain = signed(value) if field.cpp_type != field.CPPTYPE_UINT64 else value
        elif field.type == field.TYPE_STRING:
            plain = text(value)
        else:
            plain = content_of(value)
        found.setdefault(key >> 3, []).append(plain)
    for number, field in by_number.items():
        whole = field.is_repeated and field.cpp_type == field.CPPTYPE_INT64
        if whole and number in found:
            found[number] = integers(read, number)
    return found


def told_by(message: Message) -> dict[int, list[Any]]:
    """Return what protobuf reads, in the same form; packed floats as their bytes."""
    found: dict[int, list[Any]] = {}
    for field, value in message.ListFields():
        items = list(value) if field.is_repeated else [value]
        if field.message_type is not None:
            found[field.number] = [told_by(item) for item in items]
        elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE) or (
            field.is_packed and field.cpp_type != field.CPPTYPE_INT64
        ):
            found[field.number] = raw_of(message, field)
        else:
            found[field.number] = [
                item.encode() if field.type == field.TYPE_BYTES and isinstance(item, str) else item
                for item in items
            ]
    return found


def raw_of(message: Message, field: Any) -> list[bytes]:
    """Return the bytes that protobuf writes for a field of fixed or packed numbers."""
    only = type(message)()
    value = getattr(message, field.name)
    if field.is_repeated:
        getattr(only, field.name).extend(value)
    else:
        setattr(only, field.name, value)
    content = only.SerializeToString()
    _, start = varint_at(content, 0)
    if field.is_packed:
        _, start = varint_at(content, start)
        return [content[start:]]
    size = 4 if field.cpp_type == field.CPPTYPE_FLOAT else 8
    head = start
    return [content[at + head : at + head + size] for at in range(0, len(content), head + size)]


@pytest.mark.costly
@quick
@given(messages(onnx.ModelProto))
def test_the_reader_finds_what_protobuf_finds_in_memory_and_in_a_file(message: Message) -> None:
    content = message.SerializeToString(deterministic=True)
    expected = told_by(message)
    assert read_as(content, message.DESCRIPTOR) == expected
    around = Memory(b"before" + content + b"after")
    assert read_as(Range(around, 6, len(content)), message.DESCRIPTOR) == expected


@pytest.mark.costly
@quick
@given(messages(onnx.ModelProto))
def test_what_is_read_is_written_again_byte_for_byte(message: Message) -> None:
    content = message.SerializeToString(deterministic=True)
    for piece in (content, Range(Memory(content), 0, len(content))):
        pieces = [part for key, value in fields(piece, (7,)) for part in written(key, value)]
        assert b"".join(map(content_of, pieces)) == content
        with tempfile.TemporaryDirectory() as folder:
            write_pieces(pieces, Path(folder) / "copy")
            assert (Path(folder) / "copy").read_bytes() == content


@quick
@given(numbers | st.integers(0, 2**64 - 1))
def test_numbers_survive(number: int) -> None:
    value, end = varint_at(varint(number) + b"rest", 0)
    assert value == number % 2**64
    assert end == len(varint(number))
    if number < 2**63:
        assert signed(value) == number


@pytest.mark.costly
@quick
@given(st.binary(max_size=60) | messages(onnx.ModelProto).map(lambda m: m.SerializeToString()[:-1]))
def test_bytes_that_are_no_model_are_an_error_and_nothing_else(content: bytes) -> None:
    try:
        fields(content)
    except WireError:
        with pytest.raises(DecodeError):
            onnx.ModelProto.FromString(content)
    try:
        model = read_model(content)
    except CutError as error:
        assert str(error).startswith("the model: it is not an ONNX file: ")
    else:
        file_of(model)


@quick
@given(st.lists(st.tuples(st.integers(0, 3 << 20), st.integers(0, 2 << 20)), max_size=4), st.data())
def test_pieces_are_moved_in_order_whatever_their_size(
    places: list[tuple[int, int]], data: st.DataObject
) -> None:
    content = bytes(range(251)) * 21_000
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "source", Path(name) / "target"
        source.write_bytes(content)
        file = File(source)
        pieces: list[Piece] = []
        expected = b""
        for start, length in places:
            piece: Piece = Range(file, start, length)
            if data.draw(st.booleans()):
                piece = content_of(piece)
            pieces += [piece, b"tag"]
            expected += content[start : start + length] + b"tag"
        write_pieces(pieces, target)
        assert target.read_bytes() == expected
        with pytest.raises(EOFError):
            write_pieces([*pieces, Range(file, len(content) - 5, 6)], target)
