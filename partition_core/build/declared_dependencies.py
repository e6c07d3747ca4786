"""The dependencies that a recipe declares for its model, as fingerprint entries."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from partition_core.base.errors import BuildError, suggestion
from partition_core.base.file_stamp import MISSING
from partition_core.base.missing import missing_file
from partition_core.build.dependencies import labels
from partition_core.build.dependencies.installed import installed_names
from partition_core.build.step import StepJob
from partition_core.recipe.values import DependsOn


def declared_inputs(job: StepJob, depends_on: DependsOn | None) -> Iterator[tuple[str, str]]:
    """Yield the declared files and packages with their digests and versions.

    Raises BuildError for a pattern without a file, and for a package that is not installed.
    """
    if depends_on is None:
        return
    entries: dict[str, str] = {}
    state = job.project.dependency_state
    for index, pattern in enumerate(depends_on.files):
        paths = list(_files(job, pattern))
        if not paths:
            place = job.file.place(f"model.depends_on.files[{index}]")
            raise BuildError.at(place, *missing_file(job.root, pattern))
        for path in paths:
            label = f"{labels.FILE} {labels.path_text(path, job.root)}"
            entries[label] = state.text(label)
    for index, name in enumerate(depends_on.packages):
        label = f"{labels.PACKAGE} {name}"
        entries[label] = state.text(label)
        if entries[label] == MISSING:
            place = job.file.place(f"model.depends_on.packages[{index}]")
            near = suggestion(name, installed_names(state.search))
            raise BuildError.at(place, f"no package '{name}' is installed", "", near)
    yield from entries.items()


def _files(job: StepJob, pattern: str) -> Iterator[str]:
    """Yield the files that match a path or a pattern, sorted."""
    full = str(job.root / pattern)
    if glob.has_magic(pattern):
        for folder in _folders(full):
            job.digests.look(Path(folder))
    yield from (
        os.path.abspath(path)
        for path in sorted(glob.iglob(full, recursive=True))
        if os.path.isfile(path)
    )


def _folders(pattern: str) -> Iterator[str]:
    """Yield the folders in which a new file could match a pattern."""
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    if folder == os.path.dirname(pattern):
        yield folder
        return
    yield from (walked for walked, _, _ in os.walk(folder))
