"""The text of ncnn's `.param` file: its layers, and the names of its blobs; must not know ONNX.

A line is a layer: its type, its name, the numbers of its inputs and outputs, their blobs, and its
parameters. What stands behind the last layer is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

_HEAD = 2
_LONGEST = 255
"""Bytes of a name that ncnn reads."""


@dataclass(frozen=True)
class Layer:
    """A layer with the blobs that it reads and writes; `rest` are its parameters, as written."""

    type: str
    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    rest: str

    def __str__(self) -> str:
        counts = f"{len(self.reads)} {len(self.writes)}"
        words = (f"{self.type:<24} {self.name:<24} {counts}", *self.reads, *self.writes, self.rest)
        return " ".join(word for word in words if word)


@dataclass(frozen=True)
class Param:
    """The layers of a file, in order, behind its first two lines `head`."""

    head: tuple[str, ...]
    layers: tuple[Layer, ...]

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in (*self.head, *self.layers))

    @property
    def blobs(self) -> frozenset[str]:
        """The names of all blobs."""
        return frozenset(blob for layer in self.layers for blob in (*layer.reads, *layer.writes))

    def renamed(self, names: Mapping[str, str]) -> Param:
        """Return it with other names for some blobs."""

        def new(blobs: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(names.get(blob, blob) for blob in blobs)

        return replace(
            self,
            layers=tuple(
                replace(layer, reads=new(layer.reads), writes=new(layer.writes))
                for layer in self.layers
            ),
        )


def read_param(text: str) -> Param:
    """Return what a `.param` file holds; raises ValueError if it is damaged."""
    lines = text.splitlines()
    return Param(tuple(lines[:_HEAD]), tuple(map(_layer, filter(str.strip, lines[_HEAD:]))))


def can_be_blob(name: str) -> bool:
    """Return whether ncnn reads this name back as it is: without spaces, and not too long."""
    return name.isprintable() and name.split() == [name] and len(name.encode()) <= _LONGEST


def _layer(line: str) -> Layer:
    kind, name, reads, writes, *rest = line.split(None, 4)
    first, last = int(reads), int(reads) + int(writes)
    words = rest[0].split(None, last) if rest else []
    if len(words) < last:
        raise ValueError(f"a layer has fewer blobs than it says: {line}")
    return Layer(kind, name, tuple(words[:first]), tuple(words[first:last]), "".join(words[last:]))
