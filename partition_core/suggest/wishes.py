"""What a user asks of advice, from the variables of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partition_core.base.errors import BuildError
from partition_core.base.wording import bytes_in

_LIMITS = ("max_bytes", "max_memory", "unsupported")
_MOST_PARTS, _MOST_CUTS = 8, 1000


@dataclass(frozen=True)
class SuggestOptions:
    """How many parts, limits in bytes, operators that stay together, the number of the cut to
    write as YAML, and whether times are measured."""

    parts: int = 2
    max_bytes: int | None = None
    max_memory: int | None = None
    unsupported: frozenset[str] = frozenset()
    cut: int | None = None
    measures: bool = False
    limits: str = ""
    """The limits as they were written, for the line that tells what was found under them."""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> SuggestOptions:
        """Return what variables, by name, ask for; raises BuildError for one that is wrong."""
        operators = given.get("unsupported", "").split(",")
        return cls(
            parts=_number(given, "parts", _MOST_PARTS, 2) if "parts" in given else 2,
            max_bytes=bytes_in(given["max_bytes"], "max_bytes") if "max_bytes" in given else None,
            max_memory=bytes_in(given["max_memory"], "max_memory")
            if "max_memory" in given
            else None,
            unsupported=frozenset(name.strip() for name in operators if name.strip()),
            cut=_number(given, "cut", _MOST_CUTS) if "cut" in given else None,
            measures=_is_yes(given.get("measure", "no")),
            limits=", ".join(f"{name}={given[name]}" for name in _LIMITS if given.get(name)),
        )


def _number(given: Mapping[str, str], name: str, most: int, least: int = 1) -> int:
    text = given[name]
    if text.isascii() and text.isdigit() and least <= int(text) <= most:
        return int(text)
    expected = f"expected a whole number from {least} to {most}"
    raise BuildError.at(f"{name}={text}", "this is not a number that it can be", expected)


def _is_yes(text: str) -> bool:
    if text in ("yes", "no"):
        return text == "yes"
    raise BuildError.at(f"measure={text}", "this is no answer", "expected 'yes' or 'no'")
