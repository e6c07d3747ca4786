"""What decides a step's result besides the recipe, as fingerprint entries: packages, our own code,
and files that a recipe names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from partition_core.backends.backend import backend
from partition_core.base.errors import BuildError, suggestion
from partition_core.base.file_stamp import MISSING
from partition_core.base.missing import missing_file
from partition_core.base.outside_files import opened
from partition_core.base.packages import ONNX, installed, versions
from partition_core.build.dependencies import labels
from partition_core.build.dependencies.installed import installed_names
from partition_core.build.own_code import MEASURING, READING, code_files, work_of
from partition_core.build.project import Project
from partition_core.build.step import StepJob
from partition_core.recipe.values import DependsOn
from partition_core.sources.pinned import pinned_by

Entries = Iterator[tuple[str, str]]

_READING_PACKAGES = ("jsonschema", "pyyaml", "referencing")


def common_entries(job: StepJob, kind: str, package_versions: Entries, *modules: str) -> Entries:
    """Yield what every result of a kind of step depends on: settings, packages, our own code.

    `modules` are those that the work imports by name, besides its own.
    """
    yield from _of_module(job, work_of(kind), package_versions, *modules)


def running_versions() -> Entries:
    """Yield the versions of what runs and reads ONNX models."""
    yield from versions(ONNX)
    yield from backend("onnxruntime").entries()


def measuring_entries(job: StepJob) -> Entries:
    """Yield what measuring depends on besides model and inputs; the machine does not count."""
    yield from _of_module(job, MEASURING, running_versions())


def _of_module(job: StepJob, module: str, package_versions: Entries, *more: str) -> Entries:
    if job.project.settings.cache_namespace:
        yield "salt", job.project.settings.cache_namespace
    yield from package_versions
    yield from own_code(job.project, module, *more)


def reading_entries(project: Project) -> Entries:
    """Yield what reading any recipe depends on besides its files."""
    yield from versions(_READING_PACKAGES)
    yield from own_code(project, READING)


def own_code(project: Project, *modules: str) -> Entries:
    """Yield the version of this package, and the digests of the files that make up `modules`."""
    yield from installed(("partition-core",))
    for label, path in code_files(*modules).items():
        yield f"code partition_core/{label}", project.digests.of(path) or ""


def proof_files(job: StepJob) -> Entries:
    """Yield the files that the proof takes its inputs from; raises BuildError for a missing one."""
    proof = job.recipe.proof
    for key, kind, names in (("images", "image", proof.images), ("inputs", "inputs", proof.inputs)):
        for index, name in enumerate(names):
            # Other machines have the file in another folder and get the same result.
            label = f"{index} {Path(name).name}" if Path(name).is_absolute() else name
            yield f"{kind} {label}", digest_of(job, job.root / name, f"proof.{key}[{index}]")


def pinned_entry(job: StepJob) -> Entries:
    """Yield the checkpoint or the ONNX file of a recipe; raises BuildError for another file."""
    pinned = pinned_by(job.file)
    if pinned is None:
        return
    if pinned.is_url:
        yield pinned.kind, pinned.sha256
        return
    digest = digest_of(job, job.root / pinned.location, pinned.at)
    pinned.check(digest, job.file)
    yield pinned.kind, digest


def digest_of(job: StepJob, path: Path, at: str) -> str:
    """Return the digest of the file that the recipe names at `at`; raises BuildError without it."""
    digest = job.digests.of(path)
    if digest is None:
        raise BuildError.at(job.file.place(at), *_lacking(job.root, path))
    return digest


def _lacking(root: Path, path: Path) -> tuple[str, ...]:
    """Return what is wrong with a file without a digest, what is expected, and what to do."""
    try:
        opened(path).close()
    except FileNotFoundError:
        inside = path.is_relative_to(root)
        return missing_file(root, str(path.relative_to(root) if inside else path))
    except OSError as error:
        return (f"'{path.name}' cannot be read: {error.strerror}",)
    return (f"'{path.name}' did not exist a moment ago",)


def declared_inputs(job: StepJob, depends_on: DependsOn | None) -> Entries:
    """Yield the declared files and packages with their digests and versions.

    Raises BuildError for a pattern without a file, and for a package that is not installed.
    """
    if depends_on is None:
        return
    entries: dict[str, str] = {}
    state = job.project.dependency_state
    for index, pattern in enumerate(depends_on.files):
        paths = list(_declared_files(job, pattern))
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


def _declared_files(job: StepJob, pattern: str) -> Iterator[str]:
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
