"""Mark references, the strings `name[k]:input.path` that say where a segment starts and ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

Side = Literal["input", "output"]

GRAMMAR = (
    "'name:input' or 'name:output', with '[k]' after the name for the k-th call "
    "and '.path' at the end for one tensor"
)
_REFERENCE = re.compile(
    r"(?P<mark>[A-Za-z_][\w-]*)(?:\[(?P<call>0|[1-9]\d{0,5})\])?:(?P<side>input|output)"
    r"(?P<path>(?:\.[\w-]+)*)",
    re.ASCII,
)


@dataclass(frozen=True)
class MarkReference:
    """The tensors at one side of one call of a mark, or those below `path` of them.

    Source of the grammar: MMDeploy's `name:input`, `name[k]:input`; the path is ours.
    """

    mark: str
    side: Side
    call: int = 0
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        call = f"[{self.call}]" if self.call else ""
        return f"{self.mark}{call}:{self.side}" + "".join(f".{step}" for step in self.path)

    def selects(self, path: tuple[str, ...]) -> bool:
        """Return whether the reference includes a tensor at `path` of its mark, call and side."""
        return path[: len(self.path)] == self.path


def parse_reference(text: str) -> MarkReference | None:
    """Return the reference that `text` spells, or None if it does not follow the grammar."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    path = tuple(match["path"].split(".")[1:])
    return MarkReference(match["mark"], cast(Side, match["side"]), int(match["call"] or 0), path)
