"""What is known of an mmdet detector without loading it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from partition_core.base import packages
from partition_core.recipe.places import in_recipe
from partition_core.sources.job import Job
from partition_core.sources.mmdet.configs import config_closure, config_label, find_config
from partition_core.sources.source import InputFile
from partition_core.sources.source import check_input_files as check

if TYPE_CHECKING:
    from partition_core.recipe.values import MmdetModel

__all__ = ["check", "files", "versions"]

_PACKAGES = (
    *packages.TORCH,
    *("mmdet", "mmengine", "mmcv", "mmcv-lite", "matplotlib"),
    *packages.CV2,
)


def versions() -> Iterator[tuple[str, str]]:
    """Yield the packages that decide what an export gives, with their versions."""
    return packages.versions(_PACKAGES)


def files(job: Job) -> Iterator[InputFile]:
    """Yield the model's config and those that it inherits from."""
    at, config = "model.config", cast("MmdetModel", job.recipe.model).config
    job.digests.look(job.root / config)  # a file there would shadow a shipped one
    with in_recipe(job.file):
        config_path = find_config(config, job.root, at)
    for path in config_closure(config_path):
        yield InputFile(f"config {config_label(path)}", path, at)
