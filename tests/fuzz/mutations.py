"""Changes bytes, text and messages at random, the same for the same seed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

BYTES = (b"\0", b"\xff", b"\x80", b"\xff" * 9 + b"\x01", b"\n", b"[" * 3000, b"{" * 3000, b"\r")
WORDS = (
    *("", "~", "null", "true", "on", "0", "-1", "1e400", ".nan", "0x10", "1_000", "9" * 45, "[]"),
    *("{}", "2020-01-01", "'", '"', "\\", "\0", "\x1b", "\u2028", "\ud800", "&a", "*a", "!!set"),
    *("<<", "---", "...", "%YAML 9", "? ", "- ", "\t", "#", "|", ">", "a: b: c", "\ufeff", "😀"),
    *("x" * 300, "x" * 5000, "[" * 40, "[" * 2000, "{a: " * 40, "{a: " * 500, "a/" * 200, "../.."),
    *("/dev/zero", "/dev/null", "/proc/self/mem", ".", "..", "/", "~root", "$HOME", "a\0b"),
    *("\\0", "\\u0000", "\\x00", "\\n", "\\ud800", '"\\0"', '"a\\0b"', "'" * 3, '"' * 3, "%s"),
    *("http://", "http://[", "https://x/y", "file:///etc/passwd", "C:\\x", "CON", "x.yaml", "*"),
    *("**/*", "[1, 3, 8", "9223372036854775808", "-9223372036854775809", "1.0", "(" * 50),
    *("x/" * 3000, "pipe", "folder", "../x.yaml", "a.yaml"),
)
NUMBERS = (0, 1, -1, 2, 7, 255, 1 << 16, 1 << 20, 1 << 31, (1 << 31) - 1, 1 << 40, (1 << 63) - 1)
TEXTS = (
    *("", "\0", "a\0b", "x" * 300, "x" * 5000, "/dev/zero", "../x", "pipe", "folder", "9" * 30),
    *(".", "..", "Loop", "If", "Scan", "Conv", "Constant", "Mark", "Reshape", "Identity", "Cast"),
    *("location", "offset", "length", "ai.onnx", "mmdeploy", "image", "scores", "w1", "-1", "é"),
    *("then_branch", "body", "axis", "shape", "value", "pads", "strides", "9" * 5000),
    *("detector.onnx", "/etc/passwd", "²", "weights.data"),
)
_TOKEN = re.compile(r"[\w./:-]+|[^\w\s]|\s+")


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return `content` with some bytes flipped, inserted, left out, repeated or moved."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(changed) + 1)
        size = chance.choice((1, 1, 2, 4, 16, 64))
        kind = chance.randrange(7)
        if kind <= 1 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 2 and at < len(changed):
            changed[at] = chance.randrange(256)
        elif kind == 3:
            changed[at:at] = chance.choice(BYTES)
        elif kind == 4:
            del changed[at : at + size]
        elif kind == 5:
            other = chance.randrange(len(changed) + 1)
            changed[at:at] = changed[other : other + size]
        else:
            del changed[at if chance.random() < 0.3 else at + size :]
    return bytes(changed)


def mutated_text(text: str, chance: random.Random) -> bytes:
    """Return the UTF-8 of `text` with words and lines changed; at times also its bytes."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if chance.random() < 0.6:
            tokens = _TOKEN.findall(text)
            at = chance.randrange(len(tokens) + 1)
            word = chance.choice((*WORDS, chance.choice(tokens or ("",))))
            tokens[at : at + chance.randrange(3)] = [word]
            text = "".join(tokens)
        else:
            lines = text.splitlines(keepends=True) or [""]
            at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
            kind = chance.randrange(4)
            if kind == 0:
                del lines[at]
            elif kind == 1:
                lines.insert(other, lines[at])
            elif kind == 2:
                lines[at], lines[other] = lines[other], lines[at]
            else:
                lines[at] = " " * chance.randrange(5) + lines[at].lstrip(" ")
            text = "".join(lines)
    content = text.encode("utf-8", "surrogatepass")
    return mutated(content, chance) if chance.random() < 0.2 else content


def mutated_message(message: Message, chance: random.Random) -> bytes:
    """Return the bytes of `message` with fields of it, at any depth, changed; it is changed too."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        _change(chance.choice(list(_messages(message))), chance)
    content = message.SerializeToString(deterministic=True)
    return mutated(content, chance) if chance.random() < 0.3 else content


def _messages(message: Message) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                yield from _messages(one)


def _change(message: Any, chance: random.Random) -> None:
    there = [field for field, _ in message.ListFields()]
    known = message.DESCRIPTOR.fields
    field = chance.choice(there if there and chance.random() < 0.8 else known)
    held = getattr(message, field.name)
    if field.is_repeated:
        at = chance.randrange(len(held) + 1)
        kind = chance.randrange(4)
        if kind == 0 and at < len(held):
            del held[at]
        elif kind == 1 and at < len(held):
            items = list(held)
            items.insert(chance.randrange(len(items)), items.pop(at))
            del held[:]
            held.extend(items)
        elif field.message_type is not None:
            held.add()
            if at < len(held):
                held[-1].CopyFrom(held[at])
        elif kind == 2 and at < len(held):
            held[at] = _value(field, chance)
        else:
            held.append(_value(field, chance))
    elif field.message_type is not None:
        if chance.random() < 0.5:
            message.ClearField(field.name)
        else:
            held.SetInParent()
    elif chance.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(field, chance))


def _value(field: Any, chance: random.Random) -> Any:
    if field.cpp_type == field.CPPTYPE_STRING:
        word = chance.choice(TEXTS)
        return word.encode() if field.type == field.TYPE_BYTES else word
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return chance.choice((0.0, -1.0, 1e30, float("inf"), float("nan")))
    if field.cpp_type == field.CPPTYPE_ENUM:
        return chance.choice([one.number for one in field.enum_type.values])
    number = chance.choice(NUMBERS) * chance.choice((1, 1, -1))
    if field.cpp_type == field.CPPTYPE_INT32:
        return max(-(1 << 31), min(number, (1 << 31) - 1))
    return abs(number) if field.cpp_type == field.CPPTYPE_UINT64 else number


def mutated_value(value: Any, chance: random.Random) -> Any:
    """Return a value of JSON of which one part, at any depth, is another one, or missing."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.15:
        return chance.choice((None, True, 0, -1, 1e300, 1 << 70, "", "\0", "../x", [], {}, [[]]))
    if isinstance(value, dict):
        key = chance.choice(list(value))
        if chance.random() < 0.2:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: mutated_value(value[key], chance)}
    at = chance.randrange(len(value))
    if chance.random() < 0.2:
        return value[:at] + value[at + 1 + chance.randrange(2) :]
    return [*value[:at], mutated_value(value[at], chance), *value[at + 1 :]]
