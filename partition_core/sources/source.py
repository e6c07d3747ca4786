"""The interface of every source of models: a light module `form`, and `source`, which exports.

Both are imported by the name of the source, so that a torch model needs no mmdet.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from partition_core.base.disk import Digest
from partition_core.recipe.places import in_recipe
from partition_core.sources.job import Job

if TYPE_CHECKING:
    from partition_core.base.arrays import Arrays
    from partition_core.base.recording import Recording
    from partition_core.recipe.values import Recipe


Pinned = tuple[Path, Digest]
"""The path of a verified pinned file on this machine, and its digest."""


class InputFile(NamedTuple):
    """A file that an export reads: its fingerprint label, its path, its key in the recipe."""

    label: str
    path: Path
    at: str


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    `write` writes the end2end model with its Mark nodes to a path and returns the files written,
    weights first. `recording` has the model's outputs before the export, `notes` is plain data for
    the manifest, and `classes` are the modules that define the classes of a traced model.
    """

    write: Callable[[Path], list[Path]]
    recording: Recording
    notes: dict[str, Any]
    classes: tuple[str, ...] = ()


class FormModule(Protocol):
    """The module `form` of a source: what is known without loading the model."""

    def versions(self) -> Iterator[tuple[str, str]]:
        """Yield the packages that decide what an export gives, with their versions."""

    def files(self, job: Job) -> Iterator[InputFile]:
        """Yield the files that an export reads besides those that any recipe may name.

        Raises PartitionError for a missing or wrong file.
        """

    def check(self, job: Job) -> None:
        """Raise PartitionError for all problems that are known before the export."""


class Source(Protocol):
    """The module `source` of a source: loads and runs the model."""

    def export(self, job: Job, pinned: Pinned | None) -> Exported:
        """Return the exported model; raises PartitionError."""

    def record(self, job: Job, pinned: Pinned | None) -> Callable[[Arrays], Arrays]:
        """Return a function from the model's inputs to the arrays at its marks in PyTorch; raises
        PartitionError."""


def form_of(recipe: Recipe) -> FormModule:
    """Return the light module of the source of a recipe."""
    return cast("FormModule", importlib.import_module(f"{__package__}.{recipe.model.source}.form"))


def source_of(recipe: Recipe) -> Source:
    """Return the module that exports the model of a recipe."""
    return cast("Source", importlib.import_module(f"partition_core.{source_module(recipe)}"))


def source_module(recipe: Recipe) -> str:
    """Return the name, in this package, of the module that `source_of` returns."""
    return f"sources.{recipe.model.source}.source"


def check_input_files(job: Job) -> None:
    """Raise ProofError for input files that do not fit the inputs of a traced model."""
    if job.recipe.proof.inputs:
        from partition_core.sources.samples import inputs_from_files

        with in_recipe(job.file):
            inputs_from_files(job.recipe, job.root)
