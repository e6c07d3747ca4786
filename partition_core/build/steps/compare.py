"""The comparison of a converted segment, run in its target, with onnxruntime."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.backends.backend import Agreement, Backend, backend, backend_module
from partition_core.base.folders import COMPARISON, END2END, RECORDING
from partition_core.build.fingerprint_entries import common_entries, running_versions
from partition_core.build.note_checks import is_text
from partition_core.build.step import Outcome, StepJob, files_on_disk, models_on_disk
from partition_core.build.steps.convert import target_of
from partition_core.build.steps.prove import PROOF, chain_of
from partition_core.recipe.places import in_target
from partition_core.recipe.target import Target
from partition_core.recipe.values import canonical_json

if TYPE_CHECKING:
    from partition_core.base.arrays import Arrays
    from partition_core.build.note_checks import NoteCheck

_NOT_RUN = "it is for a device, and nothing here runs it or compares what it computes"
_REMEDY = (
    "`doit diagnose recipe={recipe} target={segment}={target}` finds the first tensor that "
    "differs, or allow more with 'tolerance' of this target if that is good enough"
)
NOTES: Mapping[str, NoteCheck] = {"summary": is_text}


def files(_job: StepJob, _subject: str) -> tuple[str, ...]:
    """Return the file with the figures of the comparison."""
    return (COMPARISON,)


def entries(job: StepJob, subject: str) -> Iterator[tuple[str, str]]:
    """Yield the proof, the converted files, and what decides how closely they are compared."""
    target = target_of(job, subject)
    yield "recipe agreement", canonical_json([target.tolerance, target.kept])
    yield "proof", job.result("prove").files[PROOF].digest
    for name, model in job.models.items():
        yield name, model.file.digest
    yield RECORDING, job.result("export").files[RECORDING].digest
    for name, file in job.result(f"convert {subject}").files.items():
        yield name, file.digest
    versions = {**dict(running_versions()), **dict(_backend(target).entries())}
    yield from common_entries(
        job, "compare", iter(versions.items()), backend_module(target.backend)
    )


def work(job: StepJob, subject: str) -> Callable[[Path], Outcome]:
    """Return the function that compares; after a ProofError the target is not published."""

    def write(folder: Path) -> Outcome:
        from partition_core.backends.outputs import outputs_of
        from partition_core.base.recording import load_recording
        from partition_core.graph.file.graph_reader import read_model
        from partition_core.proof.on_target import compare_target, comparison_line

        target = target_of(job, subject)
        if target.emit:
            (folder / COMPARISON).write_text(json.dumps({"not_run": _NOT_RUN}), encoding="utf-8")
            return Outcome({"summary": "not run here"})
        chosen, converted = _backend(target), job.result(f"convert {subject}").files
        proof = json.loads(job.path(job.result("prove").files[PROOF]).read_bytes())["proof"]
        with (
            job.phase(f"compare {subject}"),
            in_target(job.file, target),
            models_on_disk(job, job.model_names) as (models, scratch),
            files_on_disk(job, converted) as paths,
        ):

            def run(samples: Sequence[Arrays]) -> Sequence[Arrays]:
                return outputs_of(target.name, chosen, paths, samples, scratch)

            figures = compare_target(
                target.segment,
                run,
                chain_of(job, read_model(models[END2END]), models),
                load_recording(job.path(job.result("export").files[RECORDING])),
                agreement_of(target),
                detects=bool(job.result("export").notes["detects"]),
                random={(each["segment"], each["output"]) for each in proof["unproven"]},
                not_run=proof["not_run"]["segments"],
                remedy=_REMEDY.format(
                    recipe=job.recipe.name, segment=target.segment, target=target.name
                ),
            )
        (folder / COMPARISON).write_text(json.dumps(figures), encoding="utf-8")
        return Outcome({"summary": comparison_line(figures)})

    return write


def agreement_of(target: Target) -> Agreement:
    """Return how closely a target must agree: as the recipe says, or else its backend."""
    own = {"relative_l2": target.tolerance, "kept": target.kept}
    written = {name: value for name, value in own.items() if value is not None}
    return dataclasses.replace(_backend(target).agreement(), **written)


def _backend(target: Target) -> Backend:
    return backend(target.backend, target.precision)
