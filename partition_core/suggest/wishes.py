"""The options of `doit suggest`, from the variables of a command line."""

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
    operators: str = ""
    """The list of operators to divide by, instead of a search."""
    limits: str = ""
    """The limits as written, for the line above the table."""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> SuggestOptions:
        """Return the options in `values`, by variable; raises BuildError for an invalid one."""
        operators = values.get("unsupported", "").split(",")
        return cls(
            parts=_number(values, "parts", _MOST_PARTS, 2) if "parts" in values else 2,
            max_bytes=bytes_in(values["max_bytes"], "max_bytes") if "max_bytes" in values else None,
            max_memory=bytes_in(values["max_memory"], "max_memory")
            if "max_memory" in values
            else None,
            unsupported=frozenset(name.strip() for name in operators if name.strip()),
            cut=_number(values, "cut", _MOST_CUTS) if "cut" in values else None,
            operators=values.get("operators", ""),
            measures=_is_yes(values.get("measure", "no")),
            limits=", ".join(f"{name}={values[name]}" for name in _LIMITS if values.get(name)),
        )


def _number(values: Mapping[str, str], name: str, most: int, least: int = 1) -> int:
    text = values[name]
    if text.isascii() and text.isdigit() and least <= int(text) <= most:
        return int(text)
    expected = f"expected a whole number from {least} to {most}"
    raise BuildError.at(f"{name}={text}", "is not a valid number", expected)


def _is_yes(text: str) -> bool:
    if text in ("yes", "no"):
        return text == "yes"
    raise BuildError.at(f"measure={text}", "is not a valid answer", "expected 'yes' or 'no'")
