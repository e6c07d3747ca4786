"""Exports of detectors that keep the model in PyTorch beside what was exported of it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from partition_core.recipe.values import Recipe
from partition_core.sources import traced
from partition_core.sources.traced import export_recipe
from partition_core.trace.exporter import TracedExport
from partition_core.trace.traceable_model import TraceableModel
from tests.export.support import quietly


def exported_with_subject(recipe: Recipe, folder: Path) -> tuple[TraceableModel, TracedExport]:
    """Export a recipe's model; return the model itself, loaded once, and the export."""
    subjects: list[TraceableModel] = []
    load = traced.load_subject

    def keep(*args: Any) -> TraceableModel:
        subjects.append(load(*args))
        return subjects[0]

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what mmdet 3.3 calls is deprecated
        patch.setattr(traced, "load_subject", keep)
        exported = export_recipe(recipe, folder, None, quietly)
    return subjects[0], exported
