"""The export of a recipe's model, or of an ONNX file with the recipe's marks."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.errors import BuildError, ExportError, one_of, problem, suggestion
from partition_core.base.folders import END2END, RECORDING
from partition_core.base.index_ranges import ZERO_OR_ONE
from partition_core.base.wording import first_of
from partition_core.build.dependencies.local_modules import local_modules
from partition_core.build.fingerprint_entries import (
    common_entries,
    declared_inputs,
    digest_of,
    pinned_entry,
    proof_files,
)
from partition_core.build.note_checks import (
    NOT_FOLLOWED,
    is_boolean,
    is_number,
    is_text,
    list_of,
    map_of,
    optional,
    pair_of,
)
from partition_core.build.step import Entries, Notes, Outcome, StepJob
from partition_core.chain.picture import PictureInput
from partition_core.graph.stored_models import weights_file
from partition_core.recipe.places import in_recipe, target_place
from partition_core.recipe.values import OperatorCut, canonical_json
from partition_core.sources.source import Exported, Pinned, form_of, source_module, source_of
from partition_core.store.lists import LISTED_AT

if TYPE_CHECKING:
    from partition_core.graph.file.graph import Model


def _is_decision(value: Any) -> bool:
    texts = ("source", "question", "reason", "code")
    return (
        isinstance(value, dict)
        and all(is_text(value.get(name)) for name in texts)
        and all(is_boolean(value.get(name)) for name in ("answer", "assumed"))
    )


def _is_picture(value: Any) -> bool:
    try:
        PictureInput.of(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return True


_MOST_LISTED = 8
PARTS = "parts"
"""The note with the names of the parts that a list of operators divides the model into."""
UNSUPPORTED = "unsupported"
"""The note with a line for each node that the list does not support."""

NOTES = {
    PARTS: optional(list_of(is_text)),
    UNSUPPORTED: optional(list_of(is_text)),
    "detects": is_boolean,
    "inputs": optional(list_of(is_text)),
    "model_sha256": optional(is_text),
    "checkpoint_sha256": optional(is_text),
    "decisions": optional(list_of(_is_decision)),
    ZERO_OR_ONE: optional(list_of(is_text)),
    "index_ranges": optional(map_of(pair_of(is_number))),
    "dynamic_axes": optional(lambda value: isinstance(value, dict)),
    "picture": optional(_is_picture),
    "picture_unknown": optional(is_text),
    "classes": optional(list_of(is_text)),
    LISTED_AT: optional(is_text),
    NOT_FOLLOWED: optional(list_of(is_text)),
}


def files(job: StepJob, _: str = "") -> tuple[str, ...]:
    """Return the end2end model, its weights file if it has one, and the recording that it must
    reproduce."""
    weights = weights_file(job.weights, END2END)
    return (END2END, *([weights] if weights else []), RECORDING)


def entries(job: StepJob, _: str = "") -> Iterator[tuple[str, str]]:
    """Yield what the export depends on, as far as that is known before it runs."""
    recipe = job.recipe
    yield "recipe name", recipe.name
    yield "recipe model", canonical_json(recipe.model)
    yield "recipe export", canonical_json(recipe.export)
    if recipe.model.is_traced:
        yield "recipe marks", canonical_json(recipe.marks)
    if recipe.partition.cut:
        yield "recipe cut", canonical_json(recipe.partition.cut)
    yield "recipe batches", canonical_json(recipe.proof.batches)
    yield from proof_files(job)
    yield "recipe unproven", recipe.proof.unproven
    yield from _scaled_by(job)
    yield from pinned_entry(job)
    yield from declared_inputs(job, recipe.model.depends_on)
    form = form_of(recipe)
    for label, path, at in form.files(job):
        yield label, digest_of(job, path, at)
    modules, missing = local_modules(_dotted_names(job), job.root)
    for path in missing:
        job.digests.look(path)
    for path in modules:
        label = path.relative_to(job.root).as_posix()
        yield f"code {label}", digest_of(job, path, "model")
    yield from common_entries(job, "export", form.versions(), source_module(recipe))


def _scaled_by(job: StepJob) -> Iterator[tuple[str, str]]:
    """Yield what weights from a seed depend on that are scaled on the inputs of another variant."""
    other = job.file.scaled_by
    if other is not None:
        yield f"scaled by {other.recipe.name}", canonical_json(other.recipe.export)
        for label, text in proof_files(dataclasses.replace(job, file=other)):
            yield f"scaled by {label}", text


def work(job: StepJob, _: str = "") -> Callable[[Path], Outcome]:
    """Return the function that writes the exported model; it raises PartitionError."""

    @functools.cache  # a disk error costs a second write, not a second export
    def exported() -> tuple[Exported, Notes, Entries]:
        from partition_core.sources.fetching import pinned_file

        pinned = pinned_file(job)
        if job.recipe.model.is_traced:
            return _followed(job, pinned)
        model = source_of(job.recipe).export(job, pinned)
        return model, model.notes, ()

    def write(folder: Path) -> Outcome:
        from partition_core.base.recording import save_recording
        from partition_core.graph.file.graph_reader import read_model
        from partition_core.graph.files import move_into

        model, notes, followed = exported()
        written = model.write(folder / END2END)
        exported_model = read_model(folder / END2END)
        _check_conformance(job, exported_model)
        move_into(folder, written, weights_file(job.weights, END2END))
        save_recording(model.recording, folder / RECORDING)
        return Outcome({**notes, **_parts(job, exported_model)}, followed)

    return write


def _followed(job: StepJob, pinned: Pinned | None) -> tuple[Exported, Notes, Entries]:
    """Export a model from user code; return also what that depended on."""
    from partition_core.build.follower import Follower

    follower = Follower(job)
    with packages_of(job), follower.watching():
        exported = source_of(job.recipe).export(job, pinned)
    notes, followed = follower.result(exported.classes)
    return exported, {**exported.notes, **notes}, followed


def _parts(job: StepJob, model: Model) -> Notes:
    """Return the notes about the parts of the model, if a list of operators divides it."""
    from partition_core.graph.supported import divided, reason_lines

    cut = job.recipe.partition.cut
    if not isinstance(cut, OperatorCut):
        return {}
    with in_recipe(job.file):
        division = divided(model, cut)
    _check_targets(job, [f"{name}.onnx" for name in division.names])
    reasons = Counter(division.unsupported.values())
    counted = [f"{reason} ({count})" for reason, count in reasons.most_common()]
    job.say(
        f"{job.recipe.name}: divided by operators into {', '.join(division.names)}; not supported: "
        f"{first_of(counted, _MOST_LISTED) or 'nothing'}"
    )
    return {PARTS: list(division.names), UNSUPPORTED: reason_lines(division)}


def _check_targets(job: StepJob, files: Sequence[str]) -> None:
    """Raise ExportError for targets of parts that the model does not have."""
    ExportError.refuse(
        problem(
            target_place(job.file, target),
            f"the model has no part '{target.segment}' by these operators",
            one_of(files),
            suggestion(target.segment, files),
        )
        for target in job.recipe.partition.targets
        if target.segment not in files
    )


def _check_conformance(job: StepJob, model: Model) -> None:
    """Raise ExportError for every difference between the exported model and the recipe."""
    from partition_core.graph.conformance import differences

    problems = differences(model, job.recipe)
    with in_recipe(job.file):
        ExportError.refuse(problems)


@contextlib.contextmanager
def packages_of(job: StepJob) -> Iterator[None]:
    """Raise BuildError for a package that is missing or lacks a system library."""
    source = job.recipe.model.source
    try:
        yield
    except ImportError as error:
        raise BuildError.at(
            job.file.place("model.source"),
            f"source '{source}' needs a package that cannot be imported: {error}",
            f"install it with `pip install 'partition-core[{source}]'`",
            "for 'libGL.so.1' install the system package libgl1",
        ) from error


def _dotted_names(job: StepJob) -> list[str]:
    names = [name for mark in job.recipe.marks for name in (mark.on, *mark.any_of) if name]
    return [*names, *job.recipe.model.factories]
