"""The cut of a segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.base import packages
from partition_core.base.folders import END2END
from partition_core.build.fingerprint_entries import common_entries
from partition_core.build.note_checks import REFERS, is_boolean
from partition_core.build.step import Outcome, StepJob, digests_of, models_on_disk
from partition_core.graph.stored_models import weights_file
from partition_core.recipe.places import in_recipe
from partition_core.recipe.values import Segment, WeightsPlacement, canonical_json

if TYPE_CHECKING:
    from partition_core.graph.files import DataPlacement

NOTES = {REFERS: is_boolean}

_PLACEMENTS: Mapping[WeightsPlacement, DataPlacement] = {
    "inline": "inline",
    "external": "external",
    "shared": "referred",
}


def files(job: StepJob, subject: str) -> tuple[str, ...]:
    """Return the segment's file, and its weights file if it has its own."""
    weights = _own_weights(job, subject)
    return (subject, weights) if weights else (subject,)


def entries(job: StepJob, subject: str) -> Iterator[tuple[str, str]]:
    """Yield the segment's values in the recipe, and the model it is cut from."""
    yield "recipe segment", canonical_json(_segment(job, subject))
    yield "recipe weights", job.weights
    yield from digests_of(END2END, job.models[END2END])
    yield from common_entries(job, "cut", packages.versions(packages.ONNX))


def work(job: StepJob, subject: str) -> Callable[[Path], Outcome]:
    """Return the function that cuts the segment; it raises CutError with the recipe's lines."""

    def write(folder: Path) -> Outcome:
        from partition_core.graph.files import cut_file, move_into, weights_files

        segment = _segment(job, subject)
        at = f"partition.segments[{job.segments.index(segment)}]"
        with (
            job.phase(f"cut {subject}"),
            in_recipe(job.file),
            models_on_disk(job, [END2END]) as (models, scratch),
        ):
            target = (scratch if job.weights == "shared" else folder) / subject
            placement = _PLACEMENTS[job.weights]
            written = cut_file(models[END2END], segment, target, at=at, weights=placement)
            move_into(folder, written, _own_weights(job, subject))
        return Outcome({REFERS: bool(weights_files(folder / subject))})

    return write


def _segment(job: StepJob, subject: str) -> Segment:
    return next(segment for segment in job.segments if segment.save_file == subject)


def _own_weights(job: StepJob, subject: str) -> str:
    return weights_file(job.weights, subject) if job.weights == "external" else ""
