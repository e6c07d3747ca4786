"""The proof of a partition."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.folders import END2END, RECORDING
from partition_core.base.index_ranges import ZERO_OR_ONE
from partition_core.build.fingerprint_entries import common_entries, running_versions
from partition_core.build.note_checks import is_text
from partition_core.build.step import Outcome, StepJob, digests_of, models_on_disk
from partition_core.recipe.places import in_recipe
from partition_core.recipe.values import canonical_json
from partition_core.store.entry import Result

if TYPE_CHECKING:
    from partition_core.chain.pieces import Chain
    from partition_core.graph.file.graph import Model

PROOF = "proof.json"
NOTES = {"summary": is_text}


def files(_job: StepJob, _subject: str = "") -> tuple[str, ...]:
    """Return the file with the proof's figures."""
    return (PROOF,)


def entries(job: StepJob, _: str = "") -> Iterator[tuple[str, str]]:
    """Yield the models, the recording, and what decides how closely they are compared."""
    exported = job.result("export")
    yield "recipe segments", canonical_json(job.segments)
    yield "recipe tolerance", canonical_json(job.recipe.proof.tolerance)
    yield "recipe unproven", job.recipe.proof.unproven
    for name, model in job.models.items():
        yield from digests_of(name, model)
    yield RECORDING, exported.files[RECORDING].digest
    yield "detects", canonical_json(exported.notes.get("detects"))
    yield "assumptions", canonical_json(_assumptions(exported))
    # The proof's summary names them; an explicit range would give the same samples.
    yield "inputs drawn from 0 and 1", canonical_json(exported.notes.get(ZERO_OR_ONE, []))
    yield from common_entries(job, "prove", running_versions())


def work(job: StepJob, _: str = "") -> Callable[[Path], Outcome]:
    """Return the function that proves the partition; after a ProofError nothing is published."""

    def write(folder: Path) -> Outcome:
        from partition_core.base.recording import load_recording
        from partition_core.graph.boundaries import coverage
        from partition_core.graph.file.graph_reader import read_model
        from partition_core.graph.recomputed import recomputed
        from partition_core.proof.proof import prove as prove_chain
        from partition_core.proof.reasons import half_dtype
        from partition_core.proof.summary import summary

        exported = job.result("export")
        with job.phase("prove"), models_on_disk(job, job.model_names) as (models, scratch):
            model = read_model(models[END2END])
            with in_recipe(job.file):
                chain = chain_of(job, model, models)
                covered = coverage(model, job.segments)
                repeated = [str(nodes) for nodes in recomputed(model, job.segments)]
            figures = prove_chain(
                models[END2END],
                model,
                chain,
                load_recording(job.path(exported.files[RECORDING])),
                tolerance=job.recipe.proof.tolerance_for(half_dtype(model)),
                detects=bool(exported.notes["detects"]),
                scratch=scratch,
                allows_unproven=job.recipe.proof.unproven == "allow",
                assumptions=_assumptions(exported),
                static=[segment.save_file for segment in job.segments if segment.inputs],
            )
        content = {
            "proof": figures,
            "segments": chain.boundaries,
            "edges": chain.edges,
            "coverage": covered,
        }
        text = json.dumps(content, default=dataclasses.asdict)
        (folder / PROOF).write_text(text, encoding="utf-8")
        line = summary(figures, len(covered.uncovered), exported.notes.get(ZERO_OR_ONE, ()))
        return Outcome({"summary": "; ".join([line, *repeated])})

    return write


def chain_of(job: StepJob, model: Model, models: Mapping[str, Path]) -> Chain:
    """Return the segments among the files `models`, and how they are connected in `model`.

    `model` is the end2end model. Raises CutError.
    """
    from partition_core.chain.pieces import Chain
    from partition_core.graph.boundaries import boundaries, edges

    return Chain(
        {segment.save_file: models[segment.save_file] for segment in job.segments},
        boundaries(model, job.segments),
        edges(model, job.segments),
    )


def _assumptions(exported: Result) -> list[Any]:
    """Return the decisions of an export that a user's assumptions made, as plain data."""
    return [each for each in exported.notes.get("decisions", ()) if each["assumed"]]
