"""An ONNX file as a source: it is run unchanged, and gets the recipe's marks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.base.errors import BuildError
from partition_core.graph.files import check_model, save
from partition_core.graph.mark_nodes import put_marks
from partition_core.graph.model_inputs import inputs_of
from partition_core.graph.operators import check_functions
from partition_core.graph.stored_models import END2END_PLACEMENTS
from partition_core.sources.job import Job
from partition_core.sources.onnx.given_file import (
    about,
    batched,
    check_order,
    check_types,
    marked_by,
    ranges_for,
    samples_for,
)
from partition_core.sources.onnx.recording import (
    Original,
    check_batch,
    check_runs,
    recording_of,
    runnable_part,
    runs_on,
    without_links,
)
from partition_core.sources.samples import range_notes, usable_ranges
from partition_core.sources.source import Exported

if TYPE_CHECKING:
    from partition_core.base.arrays import Arrays
    from partition_core.sources.source import Pinned


def export(job: Job, pinned: Pinned | None) -> Exported:
    """Put Mark nodes into the recipe's ONNX file and run it; raises PartitionError."""
    if pinned is None:
        raise ValueError("the recipe names no ONNX file")
    path, digest = pinned
    with job.phase("export: read the ONNX file"):
        source = marked_by(job, path)
        with about(job.file, path):
            check_order(source.model, path.name)
            check_functions(source.model)
    with job.phase("export: run it as it is"):
        samples = samples_for(job, source.model)
        with about(job.file, path), job.store.private_folder() as scratch:
            file = without_links(path, source.model, scratch)
            whole = Original(file, source.model, scratch, file.parent)
            if job.recipe.proof.unproven == "allow":
                whole = runnable_part(whole)
            check_runs(whole, samples[0].arrays())
            runs = runs_on(whole)
            ranges = usable_ranges(ranges_for(source.model, samples), samples, runs)
            inputs = [sample.ranged(ranges).arrays() for sample in samples]
            kinds = [""] * len(inputs)
            for batch, sample in batched(source.model, samples, job.recipe.proof.batches).items():
                inputs.append(sample.ranged(ranges).arrays())
                kinds.append(f"a batch of {batch}")
                check_batch(whole, batch, inputs[-1])
            recording = recording_of(whole, source.marks, inputs, kinds)
        check_types(job, source, recording)
    with job.phase("export: put the marks in"), about(job.file, path):
        model = put_marks(source.model, source.added)
        check_model(model, path.name)

    def write(target: Path) -> list[Path]:
        with about(job.file, path):
            return save(model, target, END2END_PLACEMENTS[job.recipe.export.weights])

    notes = {
        "detects": False,
        "model_sha256": digest,
        "inputs": list(inputs_of(source.model)),
        **range_notes(samples, ranges),
    }
    return Exported(write, recording, notes)


def record(job: Job, _: Pinned | None) -> Callable[[Arrays], Arrays]:
    """Raise BuildError: PyTorch does not run an ONNX file."""
    raise BuildError.at(
        job.file.place("model.source"),
        "the model is an ONNX file, which PyTorch does not run",
        "expected source 'mmdet' or 'torch'",
        "leave 'from=pytorch' out",
    )
