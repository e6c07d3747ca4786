"""Everything outside the recipe that can change what a step gives, as entries of a fingerprint."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import partition_core
from partition_core.building.local_modules import local_modules
from partition_core.building.pinned import pinned_by
from partition_core.building.project import Project
from partition_core.errors import BuildError, problem
from partition_core.mmdet_configs import config_closure, config_label, find_config
from partition_core.reading.recipe_file import RecipeFile
from partition_core.recipe import MmdetModel, OnnxModel, TorchModel, canonical_json

Entries = Iterator[tuple[str, str]]

_SHARED_CODE = ("recipe.py", "references.py", "structure.py", "errors.py")
_CODE = {
    "export": (
        *("export", "decorator.py", "mmdet_configs.py", "picture_input.py"),
        *("cutting/as_asked.py", "cutting/model_inputs.py", "wording.py", *_SHARED_CODE),
    ),
    "mark": ("cutting", "proving", "building/onnx_source.py", "reference.py", *_SHARED_CODE),
    "cut": ("cutting", *_SHARED_CODE),
    "prove": ("proving", "cutting", *_SHARED_CODE),
    "measure": ("proving/measured_run.py", "proving/measuring.py"),
    "report": (
        "reporting",
        "building/report.py",
        "wording.py",
        "proving",
        "cutting",
        "picture_input.py",
    ),
}
"""The files and folders of our own code that each kind of step runs."""

_CODE_SUFFIXES = (".py", ".html", ".css", ".js", ".ttf")

_TORCH_PACKAGES = ("torch", "onnx", "onnx-ir", "onnxscript", "numpy", "ml-dtypes", "protobuf")
_MMDET_PACKAGES = ("mmdet", "mmengine", "mmcv", "mmcv-lite", "opencv-python", "matplotlib")
_CUT_PACKAGES = ("onnx", "onnx-ir", "numpy", "ml-dtypes", "protobuf")
_MARKING_PACKAGES = ("onnx", "numpy", "onnxruntime", "protobuf")
_PROOF_PACKAGES = ("onnx", "onnx-ir", "numpy", "onnxruntime")
_MEASURING_PACKAGES = ("numpy", "onnxruntime")
_REPORT_PACKAGES = ("jinja2", "numpy", "onnxruntime", "pillow", "pygraphviz")


def export_inputs(project: Project, file: RecipeFile) -> Entries:
    """Yield what the export of a recipe depends on; raises PartitionError for a missing file."""
    recipe = file.recipe
    yield from _salt(project)
    yield "recipe name", recipe.name
    yield "recipe model", canonical_json(recipe.model)
    yield "recipe export", canonical_json(recipe.export)
    if isinstance(recipe.model, OnnxModel):
        yield from _marking_inputs(project, file, recipe.model)
        return
    yield "recipe marks", canonical_json(recipe.marks)
    for index, image in enumerate(recipe.proof.images):
        yield (
            f"image {image}",
            _digest(project, project.root / image, f"proof.images[{index}]", file),
        )
    yield from _pinned_entry(project, file)
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


def _marking_inputs(project: Project, file: RecipeFile, model: OnnxModel) -> Entries:
    from partition_core.building.onnx_source import external_files

    yield from _pinned_entry(project, file)
    for path in external_files(project, file):
        label = path.relative_to((project.root / model.location).parent).as_posix()
        yield f"external data {label}", _digest(project, path, "model.path", file)
    for index, arrays in enumerate(model.inputs):
        at = f"proof.inputs[{index}]"
        yield f"inputs {arrays}", _digest(project, project.root / arrays, at, file)
    yield from versions(_MARKING_PACKAGES)
    yield from own_code(project, "mark")


def cut_inputs(project: Project) -> Entries:
    """Yield what every cut depends on, besides its segment and the end2end model."""
    yield from _salt(project)
    yield from versions(_CUT_PACKAGES)
    yield from own_code(project, "cut")


def proof_inputs(project: Project) -> Entries:
    """Yield what every proof depends on, besides the models and the reference."""
    yield from _salt(project)
    yield from versions(_PROOF_PACKAGES)
    yield from own_code(project, "prove")


def measuring_inputs(project: Project) -> Entries:
    """Yield what measuring depends on, besides model and inputs; the machine is no part of it."""
    yield from _salt(project)
    yield from versions(_MEASURING_PACKAGES)
    yield from own_code(project, "measure")


def report_inputs(project: Project, file: RecipeFile) -> Entries:
    """Yield what a report depends on, besides what it tells of: the recipe's text is shown."""
    for path in file.sources:
        yield f"text {path.name}", project.digests.of(path) or ""
    yield from versions(_REPORT_PACKAGES)
    yield from own_code(project, "report")


def _salt(project: Project) -> Entries:
    if project.settings.salt:
        yield "salt", project.settings.salt


def own_code(project: Project, kind: str) -> Entries:
    """Yield the digests of the files of this package that a kind of step runs."""
    for label, path in _code_files(kind):
        yield f"code partition_core/{label}", project.digests.of(path) or ""


@functools.cache
def _code_files(kind: str) -> list[tuple[str, Path]]:
    package = Path(partition_core.__file__).parent
    found: list[Path] = []
    for name in _CODE[kind]:
        path = package / name
        inside = path.rglob("*") if path.is_dir() else (path,)
        found += sorted(one for one in inside if one.suffix in _CODE_SUFFIXES)
    return [(path.relative_to(package).as_posix(), path) for path in found]


def versions(packages: tuple[str, ...]) -> Entries:
    """Yield the versions of Python and of the `packages` that are installed."""
    yield "python", f"{sys.version_info.major}.{sys.version_info.minor}"
    for package in packages:
        version = _version(package)
        if version is not None:
            yield package, version


@functools.cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


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
        raise BuildError(problem(file.place(at), f"there is no file '{path.name}'"))
    return digest


def _dotted_names(file: RecipeFile) -> list[str]:
    model = file.recipe.model
    names = [name for mark in file.recipe.marks for name in (mark.on, *mark.any_of) if name]
    if isinstance(model, TorchModel):
        names.append(model.factory.replace(":", "."))
    return names
