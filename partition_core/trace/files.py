"""The files that an export leaves: the end2end model, its weights and the recording."""

from __future__ import annotations

from pathlib import Path

from partition_core.base.recording import save_recording
from partition_core.graph.files import Form, save_traced
from partition_core.trace.exporter import Export


def save_export(
    export: Export, model: Path, recording: Path, weights: Form = "inline"
) -> list[Path]:
    """Write the end2end model and the recording of `export`; return the files of the model.

    Equal exports give equal bytes.
    """
    files = save_traced(export.model, model, weights)
    save_recording(export.recording, recording)
    return files
