"""Measures a model for the report; the figures are cached by model, inputs and versions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.base.disk import file_digest
from partition_core.base.fingerprint import Fingerprint
from partition_core.build.fingerprint_entries import measuring_entries
from partition_core.build.note_checks import is_amount, is_number, is_text, list_of
from partition_core.build.result_checks import MEASURE, is_valid
from partition_core.build.step import StepJob, digests_of
from partition_core.store.entry import Origin

if TYPE_CHECKING:
    from partition_core.base.arrays import Arrays
    from partition_core.report.measuring import Measured

NOTES = {
    "load": is_number,
    "runs": lambda value: list_of(is_number)(value) and bool(value),
    "peak": is_amount,
    "where": is_text,
}
OUTPUTS = "outputs.npz"
"""The file of a measurement with the model's outputs."""


def measure_model(
    job: StepJob, name: str, path: Path, samples: Sequence[Arrays]
) -> tuple[Measured, Sequence[Arrays]]:
    """Measure a model on some samples, unless the figures are in the store."""
    from partition_core.base.array_sets import load_sets, save_sets
    from partition_core.report.measuring import Measured, measured

    with job.store.private_folder() as folder:
        save_sets(samples, folder / "samples.npz")
        entries = (
            *digests_of("model", job.models[name]),
            ("samples", file_digest(folder / "samples.npz")),
            *measuring_entries(job),
        )
        key, step = Fingerprint(entries).key, f"{MEASURE} {name}"
        known = job.store.fetch(key, lambda result: is_valid(step, key, result, (OUTPUTS,)))
        if known is not None:
            notes = known.notes
            figures = Measured(notes["load"], tuple(notes["runs"]), notes["peak"], notes["where"])
            return figures, load_sets(job.path(known.files[OUTPUTS]))
        start = time.monotonic()
        with job.phase(step):
            figures, outputs = measured(name, path, samples, folder)
        save_sets(outputs, folder / OUTPUTS)
        origin = Origin(job.recipe.name, step, round(time.monotonic() - start, 1))
        job.store.keep(key, {OUTPUTS: folder / OUTPUTS}, dataclasses.asdict(figures), origin)
        return figures, outputs
