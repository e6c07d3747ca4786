"""What a step of a build is, what it is given, and the shape of the modules in `steps/`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from partition_core.base.errors import BuildError
from partition_core.base.fingerprint import Fingerprint
from partition_core.base.folders import END2END
from partition_core.build.note_forms import REFERS, Form
from partition_core.build.project import Project
from partition_core.graph.stored_models import StoredModel, stored_model, weights_file
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import Segment, WeightsForm
from partition_core.sources.job import Job
from partition_core.store.entry import Result, StoredFile

Entries = tuple[tuple[str, str], ...]
Notes = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One unit of work: its name in messages, its fingerprint and the files it must give."""

    name: str
    fingerprint: Fingerprint
    files: tuple[str, ...]

    @property
    def key(self) -> str:
        """The key of the step's result in the store."""
        return self.fingerprint.key


@dataclass(frozen=True)
class Outcome:
    """What the work of a step gave besides its files: notes, and what it turned out to depend on
    besides the entries that were known before."""

    notes: Notes
    entries: Entries = ()


@dataclass(frozen=True, kw_only=True)
class StepJob(Job):
    """A job with the steps before it that are known, and those of their results that are."""

    project: Project
    steps: Mapping[str, Step] = field(default_factory=dict)
    results: Mapping[str, Result] = field(default_factory=dict)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The recipe's segments, in order."""
        return self.recipe.partition.segments

    @property
    def weights(self) -> WeightsForm:
        """Where the weights of the recipe's models are."""
        return self.recipe.export.weights

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names of the end2end model and the segments, in order."""
        return (END2END, *(segment.save_file for segment in self.segments))

    @property
    def models(self) -> dict[str, StoredModel]:
        """Those of the end2end model and the segments that are made, by name."""
        return models_in(self.results, self.weights)

    def result(self, name: str) -> Result:
        """Return the result of an earlier step; raises BuildError if it is gone."""
        if name not in self.results:
            raise gone(name)
        return self.results[name]

    def path(self, file: StoredFile) -> Path:
        """Return where a stored file is, for reading only; raises BuildError if it is gone."""
        path = self.store.path_of(file)
        if path is None:
            raise lost(file.digest)
        return path


class StepModule(Protocol):
    """A module of `steps/`. `subject` is the segment's file of a step for each segment, or empty.

    Imported for each build with something to do, so what is heavy is imported by the work.
    """

    NOTES: Mapping[str, Form]
    """What the notes of a result must be like, by name."""

    def files(self, job: StepJob, subject: str) -> tuple[str, ...]:
        """Return the names of the files that the step gives."""

    def entries(self, job: StepJob, subject: str) -> Iterator[tuple[str, str]]:
        """Yield what is known before the work of what the step depends on."""

    def work(self, job: StepJob, subject: str) -> Callable[[Path], Outcome]:
        """Return what writes the step's files to a folder; it may be called again if a disk
        refuses, and raises PartitionError."""


def models_in(results: Mapping[str, Result], weights: WeightsForm) -> dict[str, StoredModel]:
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


def _model(made: Result, name: str, exported: Result, form: WeightsForm) -> StoredModel:
    weights = weights_file(form, name)
    if not made.notes.get(REFERS, True):
        return StoredModel(made.files[name])
    holder = exported if form == "shared" else made
    return stored_model(made.files[name], holder.files.get(weights), weights)


def digests_of(name: str, model: StoredModel) -> Iterator[tuple[str, str]]:
    """Yield the entries of a fingerprint that stand for a model."""
    yield name, model.file.digest
    if model.weights is not None:
        yield f"{name} weights", model.weights.digest


@contextlib.contextmanager
def laid_out(job: StepJob, names: Sequence[str]) -> Iterator[tuple[dict[str, Path], Path]]:
    """Yield the paths of stored models, for reading only, and a private folder.

    Models whose weights are in another file lie in the folder, and so do those files, called as
    the models call them: as in the build folder. (onnxruntime follows no symbolic link to them.)
    """
    models = job.models
    paths: dict[str, Path] = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(job.store.private_folder())
        for name in names:
            if name not in models:
                raise gone(name)
            model = models[name]
            paths[name] = job.path(model.file)
            if model.weights is None:
                continue
            paths[name] = Path(shutil.copyfile(paths[name], folder / name))
            weights = folder / model.weights_name
            linked = job.store.linked
            if not weights.exists() and not stack.enter_context(linked(model.weights, weights)):
                raise lost(model.weights_name)
        yield paths, folder


def gone(name: str) -> BuildError:
    """Return the error that the step `name` lacks a result that it starts from."""
    return BuildError.at(
        name, "what it starts from is not in the store any more", "", "build again"
    )


def lost(name: str) -> BuildError:
    """Return the error that a file of a result is not in the store any more."""
    return BuildError.at(
        "store",
        f"'{name}' was removed or damaged while it was needed",
        "",
        "build again: it will be made anew",
    )


def changed_meanwhile(step: str, changes: Sequence[str]) -> BuildError:
    """Return the error that inputs of a step changed, in the words `changes`, while it ran."""
    return BuildError.at(
        step,
        f"while it ran, {'; '.join(changes)}",
        "what it gave belongs to neither state and is not kept",
        "build again",
    )


def job_of(project: Project, file: RecipeFile, **more: Any) -> StepJob:
    """Return a job of a project."""
    return StepJob(
        root=project.root,
        file=file,
        store=project.store,
        digests=project.digests,
        project=project,
        **more,
    )
