"""Plain YAML values that know where they were written; imports only errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from partition_core.base.errors import Place, quoted

Scalar: TypeAlias = str | int | float | bool | None
Steps: TypeAlias = tuple[str | int, ...]

EVERY = "*"
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True)
class Node:
    """A scalar, a mapping of nodes or a list of nodes, and the place where it was written.

    The place is in the file where the value was written, even if the value is inherited or moves to
    another index.
    """

    place: Place
    value: Scalar | Mapping[str, Node] | tuple[Node, ...]

    @property
    def text(self) -> str | None:
        """The node's text, or None if it is not text."""
        return self.value if isinstance(self.value, str) else None

    @property
    def entries(self) -> Mapping[str, Node]:
        """The entries of a mapping; empty for any other node."""
        return self.value if isinstance(self.value, Mapping) else {}

    @property
    def items(self) -> tuple[Node, ...]:
        """The items of a list; empty for any other node."""
        return self.value if isinstance(self.value, tuple) else ()

    def get(self, *steps: str | int) -> Node | None:
        """Return the node that keys and indexes lead to, or None if one of them leads nowhere."""
        node: Node | None = self
        for step in steps:
            if node is None:
                return None
            if isinstance(step, str):
                node = node.entries.get(step)
            else:
                node = node.items[step] if step < len(node.items) else None
        return node

    def select(self, *steps: str) -> Iterator[Node]:
        """Yield the nodes that the keys lead to, where `EVERY` stands for each item of a list."""
        if not steps:
            yield self
            return
        first, rest = steps[0], steps[1:]
        children = self.items if first == EVERY else filter(None, [self.entries.get(first)])
        for child in children:
            yield from child.select(*rest)

    def plain(self) -> Any:
        """Return the value in dicts and lists, without its places."""
        if isinstance(self.value, Mapping):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.plain() for child in self.value]
        return self.value

    def walk(self, steps: Steps = ()) -> Iterator[tuple[Steps, Node]]:
        """Yield every node of the tree with its steps, parents first, in the order written."""
        yield steps, self
        children = self.entries.items() if self.entries else enumerate(self.items)
        for step, child in children:
            yield from child.walk((*steps, step))


def path_text(steps: Steps) -> str:
    """Return the steps as in messages: `partition.segments[0].end[0]`, `axes['maps.0']`."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{quoted(step)}]"
    return text


def merge(base: Node | None, patch: Node, removes: bool = True) -> Node:
    """Return `base` with `patch` applied (RFC 7396): maps merge, null removes a key.

    Unless it `removes`: then null is a value as any other.
    """
    if not isinstance(patch.value, Mapping):
        return patch
    merged = dict(base.entries) if base else {}
    for key, child in patch.value.items():
        if child.value is None and removes:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), child, removes)
    return Node(patch.place, merged)
