"""Everything outside the recipe that can change what a step gives, as entries of a fingerprint."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import partition_core
from partition_core.building.local_modules import local_modules
from partition_core.building.project import Project
from partition_core.errors import BuildError, problem
from partition_core.mmdet_configs import config_closure, config_label, find_config
from partition_core.reading.recipe_file import RecipeFile
from partition_core.recipe import Checkpoint, MmdetModel, canonical_json

Entries = Iterator[tuple[str, str]]

_SHARED_CODE = ("recipe.py", "references.py", "structure.py", "errors.py")
_CODE = {
    "export": ("export", "decorator.py", "mmdet_configs.py", "picture_input.py", *_SHARED_CODE),
    "cut": ("cutting", *_SHARED_CODE),
    "prove": ("proving", "cutting", *_SHARED_CODE),
}
"""The files and folders of our own code that each kind of step runs."""

_TORCH_PACKAGES = ("torch", "onnx", "onnx-ir", "onnxscript", "numpy", "ml-dtypes", "protobuf")
_MMDET_PACKAGES = ("mmdet", "mmengine", "mmcv", "mmcv-lite", "opencv-python", "matplotlib")
_CUT_PACKAGES = ("onnx", "onnx-ir", "numpy", "ml-dtypes", "protobuf")
_PROOF_PACKAGES = ("onnx", "onnx-ir", "numpy", "onnxruntime")


def export_inputs(project: Project, file: RecipeFile) -> Entries:
    """Yield what the export of a recipe depends on; raises PartitionError for a missing file."""
    recipe = file.recipe
    yield from _salt(project)
    yield "recipe name", recipe.name
    yield "recipe model", canonical_json(recipe.model)
    yield "recipe export", canonical_json(recipe.export)
    yield "recipe marks", canonical_json(recipe.marks)
    for index, image in enumerate(recipe.proof.images):
        yield (
            f"image {image}",
            _digest(project, project.root / image, f"proof.images[{index}]", file),
        )
    yield from _weights_entry(project, file)
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
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
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


def _weights_entry(project: Project, file: RecipeFile) -> Entries:
    weights = file.recipe.model.weights
    if not isinstance(weights, Checkpoint):
        return
    if is_url(weights.checkpoint):
        yield "checkpoint", weights.sha256
        return
    at = "model.weights.checkpoint"
    digest = _digest(project, project.root / weights.checkpoint, at, file)
    if not digest.startswith(weights.sha256):
        raise wrong_checkpoint(file, digest)
    yield "checkpoint", digest


def is_url(checkpoint: str) -> bool:
    """Return whether a checkpoint is to be fetched from the network."""
    return checkpoint.startswith(("http://", "https://"))


def wrong_checkpoint(file: RecipeFile, digest: str) -> BuildError:
    """Return the error that a checkpoint's bytes are not those that the recipe pins."""
    weights = file.recipe.model.weights
    pinned = weights.sha256 if isinstance(weights, Checkpoint) else ""
    return BuildError(
        problem(
            file.place("model.weights.sha256"),
            f"the checkpoint's SHA-256 is '{digest}'",
            f"the recipe expects one that starts with '{pinned}'",
            "check where the checkpoint comes from before you change the recipe",
        )
    )


def _digest(project: Project, path: Path, at: str, file: RecipeFile) -> str:
    digest = project.digests.of(path)
    if digest is None:
        raise BuildError(problem(file.place(at), f"there is no file '{path.name}'"))
    return digest


def _dotted_names(file: RecipeFile) -> list[str]:
    model = file.recipe.model
    names = [mark.on for mark in file.recipe.marks if mark.on]
    if not isinstance(model, MmdetModel):
        names.append(model.factory.replace(":", "."))
    return names
