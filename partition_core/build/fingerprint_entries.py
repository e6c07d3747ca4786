"""Everything outside the recipe that can change what a step gives, as entries of a fingerprint."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from partition_core.backends.backend import backend
from partition_core.base.errors import BuildError, problem
from partition_core.base.missing import missing_file
from partition_core.base.outside_files import opened
from partition_core.base.packages import installed
from partition_core.build.declared import declared_inputs
from partition_core.build.dependencies.local_modules import local_modules
from partition_core.build.own_code import Kind, code_files
from partition_core.build.project import Project
from partition_core.recipe.file import RecipeFile
from partition_core.recipe.values import MmdetModel, canonical_json
from partition_core.sources.mmdet.configs import config_closure, config_label, find_config
from partition_core.sources.pinned import pinned_by

Entries = Iterator[tuple[str, str]]

# A module may come from one of several packages: whichever is installed has an entry.
_CV2 = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
_ONNX = ("onnx", "onnx-ir", "numpy", "ml-dtypes", "protobuf")
_TORCH_PACKAGES = ("torch", "onnxscript", "sympy", *_ONNX)
_MMDET_PACKAGES = ("mmdet", "mmengine", "mmcv", "mmcv-lite", "matplotlib", *_CV2)
_SHOWN_PACKAGES = ("torch", "mmdet", "mmengine")  # by a report, beside those that write it
_REPORT_PACKAGES = ("jinja2", "markupsafe", "pillow", "pygraphviz", *_SHOWN_PACKAGES)
_READING_PACKAGES = ("jsonschema", "pyyaml", "referencing")


def export_inputs(project: Project, file: RecipeFile) -> Entries:
    """Yield what the export of a recipe depends on; raises PartitionError for a missing file."""
    recipe = file.recipe
    yield from _salt(project)
    yield "recipe name", recipe.name
    yield "recipe model", canonical_json(recipe.model)
    yield "recipe export", canonical_json(recipe.export)
    if not recipe.model.is_traced:
        yield from _marking_inputs(project, file)
        return
    yield "recipe marks", canonical_json(recipe.marks)
    yield from _proof_files(project, file)
    yield from _pinned_entry(project, file)
    yield from declared_inputs(project, file, recipe.model.depends_on)
    if isinstance(recipe.model, MmdetModel):
        place = file.place("model.config")
        project.digests.look(project.root / recipe.model.config)  # would go before a shipped one
        for path in config_closure(find_config(recipe.model.config, project.root, place)):
            yield f"config {config_label(path)}", _digest(project, path, "model.config", file)
    modules, missing = local_modules(_dotted_names(file), project.root)
    for path in missing:
        project.digests.look(path)
    for path in modules:
        label = path.relative_to(project.root).as_posix()
        yield f"code {label}", _digest(project, path, "model", file)
    mmdet = _MMDET_PACKAGES if isinstance(recipe.model, MmdetModel) else ()
    yield from versions((*_TORCH_PACKAGES, *mmdet))
    yield from own_code(project, "export")


def _marking_inputs(project: Project, file: RecipeFile) -> Entries:
    from partition_core.sources.onnx.given_file import external_files

    yield from _pinned_entry(project, file)
    pinned = pinned_by(file)
    folder = (project.root / pinned.location).parent if pinned else project.root
    for path in external_files(project.root, file):
        label = path.relative_to(folder).as_posix()
        yield f"external data {label}", _digest(project, path, "model.path", file)
    yield from _proof_files(project, file)
    yield from _running()
    yield from own_code(project, "mark")


def _proof_files(project: Project, file: RecipeFile) -> Entries:
    proof = file.recipe.proof
    for key, kind, names in (("images", "image", proof.images), ("inputs", "inputs", proof.inputs)):
        for index, name in enumerate(names):
            # Other machines have the file in another folder, and the same result.
            own = f"{index} {Path(name).name}" if Path(name).is_absolute() else name
            at = f"proof.{key}[{index}]"
            yield f"{kind} {own}", _digest(project, project.root / name, at, file)


def cut_inputs(project: Project) -> Entries:
    """Yield what every cut depends on, besides its segment and the end2end model."""
    yield from _salt(project)
    yield from versions(_ONNX)
    yield from own_code(project, "cut")


def proof_inputs(project: Project) -> Entries:
    """Yield what every proof depends on, besides the models and the reference."""
    yield from _salt(project)
    yield from _running()
    yield from own_code(project, "prove")


def measuring_inputs(project: Project) -> Entries:
    """Yield what measuring depends on, besides model and inputs; the machine is no part of it."""
    yield from _salt(project)
    yield from _running()
    yield from own_code(project, "measure")


def report_inputs(project: Project, file: RecipeFile) -> Entries:
    """Yield what a report depends on, besides what it tells of: the recipe's text is shown."""
    from partition_core.report.layout import obstacle

    for path in file.sources:
        yield f"text {path.name}", project.digests.of(path) or ""
    # Of equal inputs, a report with its map and one without are not the same.
    yield "map", "left out" if obstacle() else "drawn"
    yield from _running()
    yield from installed(_REPORT_PACKAGES)
    yield from own_code(project, "report")


def reading_inputs(project: Project) -> Entries:
    """Yield what the reading of every recipe depends on, besides the recipe's files."""
    yield from versions(_READING_PACKAGES)
    yield from own_code(project, "read")


def _running() -> Entries:
    yield from versions(_ONNX)
    yield from backend("onnxruntime").entries()


def _salt(project: Project) -> Entries:
    if project.settings.salt:
        yield "salt", project.settings.salt


def own_code(project: Project, kind: Kind) -> Entries:
    """Yield the version of this package, and the digests of its files that a kind of work runs."""
    yield from installed(("partition-core",))
    for label, path in code_files(kind).items():
        yield f"code partition_core/{label}", project.digests.of(path) or ""


def versions(packages: tuple[str, ...]) -> Entries:
    """Yield the versions of Python and of the `packages` that are installed."""
    yield "python", f"{sys.version_info.major}.{sys.version_info.minor}"
    yield from installed(packages)


def _pinned_entry(project: Project, file: RecipeFile) -> Entries:
    pinned = pinned_by(file)
    if pinned is None:
        return
    if pinned.is_url:
        yield pinned.kind, pinned.sha256
        return
    digest = _digest(project, project.root / pinned.location, pinned.at, file)
    pinned.check(digest, file)
    yield pinned.kind, digest


def _digest(project: Project, path: Path, at: str, file: RecipeFile) -> str:
    digest = project.digests.of(path)
    if digest is None:
        raise BuildError(problem(file.place(at), *_lacking(project, path)))
    return digest


def _lacking(project: Project, path: Path) -> tuple[str, ...]:
    """Return what is wrong with a file that has no digest, what is expected, and what to do."""
    try:
        opened(path).close()
    except FileNotFoundError:
        inside = path.is_relative_to(project.root)
        return missing_file(project.root, str(path.relative_to(project.root) if inside else path))
    except OSError as error:
        return (f"'{path.name}' cannot be read: {error.strerror}",)
    return (f"'{path.name}' was not there a moment ago",)


def _dotted_names(file: RecipeFile) -> list[str]:
    model = file.recipe.model
    names = [name for mark in file.recipe.marks for name in (mark.on, *mark.any_of) if name]
    return [*names, *model.factories]
