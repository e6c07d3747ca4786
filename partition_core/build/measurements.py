"""Measures models and targets for the report; figures are cached by model, inputs and versions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.disk import file_digest
from partition_core.base.fingerprint import Fingerprint
from partition_core.build.fingerprint_entries import measuring_entries
from partition_core.build.note_checks import is_amount, is_number, is_text, list_of, optional
from partition_core.build.result_checks import MEASURE, is_valid
from partition_core.build.step import StepJob, digests_of, files_on_disk
from partition_core.store.entry import Origin

if TYPE_CHECKING:
    from partition_core.backends.backend import Backend
    from partition_core.base.arrays import Arrays
    from partition_core.recipe.target import Target
    from partition_core.report.measuring import Measured


def _are_runs(value: Any) -> bool:
    return list_of(is_number)(value) and bool(value)


_ONE_MODEL = {"load": is_number, "runs": _are_runs, "peak": is_amount}
_IN_TURNS = {"onnxruntime": _are_runs, "target": _are_runs}
NOTES = {
    **{name: optional(check) for name, check in {**_ONE_MODEL, **_IN_TURNS}.items()},
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


def measure_in_turns(
    job: StepJob, target: Target, engine: Backend, model: Path, sample: Arrays
) -> Mapping[str, Any]:
    """Return the seconds of runs of a segment in onnxruntime and in its target, by these names.

    Unless they are in the store. `model` is the segment's file, `sample` its inputs.
    """
    from partition_core.backends.turns import times_in_turns
    from partition_core.base.array_sets import save_sets
    from partition_core.report.measuring import where

    converted = job.result(f"convert {target.folder}").files
    with job.store.private_folder() as folder, files_on_disk(job, converted) as paths:
        save_sets([sample], folder / "sample.npz")
        entries = (
            *digests_of("model", job.models[target.segment]),
            *((name, file.digest) for name, file in converted.items()),
            ("sample", file_digest(folder / "sample.npz")),
            *measuring_entries(job),
        )
        key, step = Fingerprint(entries).key, f"{MEASURE} {target.folder}"
        known = job.store.fetch(key, lambda result: is_valid(step, key, result, ()))
        if known is not None and _IN_TURNS.keys() <= known.notes.keys():
            return known.notes
        start = time.monotonic()
        with job.phase(step):
            times = times_in_turns(target.folder, engine, model, paths, sample, folder)
        notes = {**times, "where": where()}
        origin = Origin(job.recipe.name, step, round(time.monotonic() - start, 1))
        job.store.keep(key, {}, notes, origin)
        return notes
