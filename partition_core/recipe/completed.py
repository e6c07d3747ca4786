"""A recipe's tree once what it names is in it; imports only values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from partition_core.base.errors import Problem
from partition_core.recipe.yaml_tree import Node


@dataclass(frozen=True)
class Completed:
    """A recipe's tree with its policy and known marks, the package's files in it, and problems."""

    tree: Node
    files: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()
