"""A recipe as written, for the checks that a schema cannot make; imports only yaml_tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from partition_core.base.errors import Problem
from partition_core.recipe.yaml_tree import EVERY, Node

REFERENCE_KEYS = ("start", "end", "sizes_from")
"""The keys of a segment that hold mark references."""


@dataclass(frozen=True)
class Draft:
    """A recipe as written, after inheriting; any part of it may be missing or wrong.

    `root` is the project's folder.
    """

    tree: Node
    root: Path

    @property
    def source(self) -> str | None:
        """The key `model.source`, as written."""
        source = self.tree.get("model", "source")
        return None if source is None else source.text

    @property
    def is_onnx(self) -> bool:
        """Whether the model is an ONNX file, whose marks name tensors."""
        return self.source == "onnx"

    def inputs(self) -> Iterator[Node]:
        """Yield the node of each input of the model."""
        inputs = self.tree.get("export", "inputs")
        yield from inputs.entries.values() if inputs is not None else ()

    def marks(self) -> Iterator[tuple[str, Node]]:
        """Yield the name and the node of each mark that has a name."""
        for mark in self.tree.select("marks", EVERY):
            name = mark.get("name")
            if name is not None and name.text:
                yield name.text, mark

    def segments(self) -> Iterator[Node]:
        """Yield the node of each segment."""
        return self.tree.select("partition", "segments", EVERY)


Check: TypeAlias = Callable[[Draft], Iterator[Problem]]
