"""The value of an unquoted YAML scalar, if all YAML parsers agree on it; imports only yaml_tree."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from partition_core.recipe.yaml_tree import Scalar

MAX_DIGITS = 40

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?")
_EXPONENT = re.compile(r"([-+]?[0-9]*)(\.[0-9]*)?[eE]([-+]?)([0-9]+)")
_BOOLS = {"true": True, "false": False}
_BOOLS_OF_YAML_1_1 = {"y": True, "yes": True, "on": True, "n": False, "no": False, "off": False}
_QUOTE = "put it in quotes if it is text"


@dataclass(frozen=True)
class Ambiguous:
    """Why a plain scalar is refused: YAML parsers disagree on it, or it is not a value."""

    what: str
    remedy: str


def is_boolean_of_yaml_1_1(text: str) -> bool:
    """Return whether an unquoted scalar is a boolean only to some YAML parsers."""
    return text.lower() in _BOOLS_OF_YAML_1_1


def plain_scalar(text: str, kind: str) -> Scalar | Ambiguous:
    """Return the value of a scalar without quotes, which YAML 1.1 takes for a `kind` (its tag)."""
    if kind not in _PLAIN_SCALARS:
        return Ambiguous("has a special meaning in YAML", _QUOTE)
    return _PLAIN_SCALARS[kind](text)


def _text(text: str) -> Scalar | Ambiguous:
    if is_boolean_of_yaml_1_1(text):
        return _bool(text)
    exponent = _EXPONENT.fullmatch(text)
    if exponent and (exponent[1].strip("+-") or (exponent[2] or ".") != "."):
        whole, fraction, sign, power = exponent.groups()
        number = f"{whole or '0'}{fraction or '.0'}e{sign or '+'}{power}"
        return Ambiguous("is text to YAML, not a number", f"write {number}, or {_QUOTE}")
    if re.fullmatch(r"0o[0-7]+", text):
        return _number(text)
    return text


def _bool(text: str) -> Scalar | Ambiguous:
    if text.lower() in _BOOLS:
        return _BOOLS[text.lower()]
    meant = str(_BOOLS_OF_YAML_1_1[text.lower()]).lower()
    return Ambiguous("is a boolean to some YAML parsers", f"write {meant}, or {_QUOTE}")


def _int(text: str) -> Scalar | Ambiguous:
    if len(text) > MAX_DIGITS:
        return Ambiguous("has too many digits", _QUOTE)
    return int(text) if _INT.fullmatch(text) else _number(text)


def _float(text: str) -> Scalar | Ambiguous:
    if not _FLOAT.fullmatch(text):
        return _number(text)
    value = float(text)
    return value if math.isfinite(value) else Ambiguous("is too large a number", _QUOTE)


def _number(_: str) -> Ambiguous:
    what = "is a number in a notation that YAML parsers disagree on"
    return Ambiguous(what, f"write a plain decimal number, or {_QUOTE}")


_PLAIN_SCALARS: dict[str, Callable[[str], Scalar | Ambiguous]] = {
    "str": _text,
    "bool": _bool,
    "int": _int,
    "float": _float,
    "null": lambda _: None,
    "timestamp": lambda _: Ambiguous("is a date to some YAML parsers", _QUOTE),
}
