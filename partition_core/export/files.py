"""The files that an export leaves: the end2end model and the eager results."""

from __future__ import annotations

from pathlib import Path

from partition_core.cutting.files import save_model
from partition_core.export.exporter import Export
from partition_core.reference import save_reference


def save_export(export: Export, model: Path, reference: Path) -> None:
    """Write the end2end model and the reference of `export`; equal exports give equal bytes."""
    save_model(export.model, model)
    save_reference(export.reference, reference)
