"""What a build step is, its job, and the interface of the modules in `steps/`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from partition_core.base.errors import BuildError, Problem
from partition_core.base.fingerprint import Fingerprint
from partition_core.base.folders import END2END
from partition_core.build.note_checks import REFERS, NoteCheck
from partition_core.build.project import Project
from partition_core.graph.stored_models import StoredModel, stored_model, weights_file
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import Segment, WeightsPlacement
from partition_core.sources.job import Job
from partition_core.store.entry import Result, StoredFile

Entries = tuple[tuple[str, str], ...]
Notes = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One unit of work: its name in messages, its fingerprint and its output files."""

    name: str
    fingerprint: Fingerprint
    files: tuple[str, ...]

    @property
    def key(self) -> str:
        """The key of the step's result in the store."""
        return self.fingerprint.key


@dataclass(frozen=True)
class Outcome:
    """What a step gives besides its files: notes, and what it depended on besides the entries
    known before."""

    notes: Notes
    entries: Entries = ()


@dataclass(frozen=True, kw_only=True)
class StepJob(Job):
    """A job with the earlier steps that are known, and those of their results that are.

    `failures` are the problems of targets that failed.
    """

    project: Project
    steps: Mapping[str, Step] = field(default_factory=dict)
    results: Mapping[str, Result] = field(default_factory=dict)
    failures: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The recipe's segments, in order."""
        return self.recipe.partition.segments

    @property
    def weights(self) -> WeightsPlacement:
        """Where the weights of the recipe's models are."""
        return self.recipe.export.weights

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names of the end2end model and the segments, in order."""
        return (END2END, *(segment.save_file for segment in self.segments))

    @property
    def models(self) -> dict[str, StoredModel]:
        """The end2end model and the segments that are finished, by name."""
        return models_in(self.results, self.weights)

    def result(self, name: str) -> Result:
        """Return the result of an earlier step; raises BuildError if it is missing."""
        if name not in self.results:
            raise missing_result_error(name)
        return self.results[name]

    def path(self, file: StoredFile) -> Path:
        """Return the path of a stored file, read-only; raises BuildError if it is missing."""
        path = self.store.path_of(file)
        if path is None:
            raise lost_file_error(file.digest)
        return path


class StepModule(Protocol):
    """A module of `steps/`. `subject` is the segment's file if a step is per segment, else empty.

    Imported by each build that is not up to date, so heavy modules are imported by `work`.
    """

    NOTES: Mapping[str, NoteCheck]
    """The checks of a result's notes, by name."""

    def files(self, job: StepJob, subject: str) -> tuple[str, ...]:
        """Return the names of the step's output files."""

    def entries(self, job: StepJob, subject: str) -> Iterator[tuple[str, str]]:
        """Yield what the step depends on, as far as it is known before the work."""

    def work(self, job: StepJob, subject: str) -> Callable[[Path], Outcome]:
        """Return a function that writes the step's files to a folder; it may be called again after
        a disk error, and raises PartitionError."""


def models_in(results: Mapping[str, Result], weights: WeightsPlacement) -> dict[str, StoredModel]:
    """Return the end2end model and the segments among the results of steps, by name."""
    exported = results.get("export")
    if exported is None:
        return {}
    models = {END2END: _model(exported, END2END, exported, weights)}
    for step, result in results.items():
        kind, _, segment = step.partition(" ")
        if kind == "cut":
            models[segment] = _model(result, segment, exported, weights)
    return models


def _model(result: Result, name: str, exported: Result, placement: WeightsPlacement) -> StoredModel:
    weights = weights_file(placement, name)
    if not result.notes.get(REFERS, True):
        return StoredModel(result.files[name])
    weights_owner = exported if placement == "shared" else result
    return stored_model(result.files[name], weights_owner.files.get(weights), weights)


def digests_of(name: str, model: StoredModel) -> Iterator[tuple[str, str]]:
    """Yield the fingerprint entries of a model."""
    yield name, model.file.digest
    if model.weights is not None:
        yield f"{name} weights", model.weights.digest


@contextlib.contextmanager
def models_on_disk(job: StepJob, names: Sequence[str]) -> Iterator[tuple[dict[str, Path], Path]]:
    """Yield the paths of stored models, read-only, and a private folder.

    Models with external weights are copied into the folder, together with those files under the
    names that the models use, as in the build folder. (onnxruntime follows no symbolic links.)
    """
    models = job.models
    paths: dict[str, Path] = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(job.store.private_folder())
        for name in names:
            if name not in models:
                raise missing_result_error(name)
            model = models[name]
            paths[name] = job.path(model.file)
            if model.weights is None:
                continue
            paths[name] = Path(shutil.copyfile(paths[name], folder / name))
            weights = folder / model.weights_name
            link = job.store.linked
            if not weights.exists() and not stack.enter_context(link(model.weights, weights)):
                raise lost_file_error(model.weights_name)
        yield paths, folder


@contextlib.contextmanager
def files_on_disk(job: StepJob, files: Mapping[str, StoredFile]) -> Iterator[list[Path]]:
    """Yield the paths of stored files, read-only, under their own names in a private folder."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(job.store.private_folder())
        for name, file in files.items():
            if not stack.enter_context(job.store.linked(file, folder / name)):
                raise lost_file_error(name)
        yield [folder / name for name in files]


def missing_result_error(name: str) -> BuildError:
    """Return the error of the step `name` whose input, an earlier result, is missing."""
    return BuildError.at(
        name, "the result that it starts from is no longer in the store", "", "build again"
    )


def lost_file_error(name: str) -> BuildError:
    """Return the error for a result's file that is no longer in the store."""
    return BuildError.at(
        "store",
        f"'{name}' was removed or damaged while it was in use",
        "",
        "build again to recreate it",
    )


def inputs_changed_error(step: str, changes: Sequence[str]) -> BuildError:
    """Return the error for inputs of a step that changed while it ran, described by `changes`."""
    return BuildError.at(
        step,
        f"while it ran, {'; '.join(changes)}",
        "its result belongs to neither state and is discarded",
        "build again",
    )


def job_of(project: Project, file: RecipeFile) -> StepJob:
    """Return the job of a recipe's first step."""
    return StepJob(
        root=project.root,
        file=file,
        store=project.store,
        digests=project.digests,
        project=project,
    )
