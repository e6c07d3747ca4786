"""The proof of a partition."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.folders import END2END, REFERENCE
from partition_core.base.index_ranges import ZERO_OR_ONE
from partition_core.base.progress import Say, phase
from partition_core.build.plan import PROOF, Plan, assumptions
from partition_core.build.work import Notes, carry_out, known, laid_out, lost, stored
from partition_core.recipe.places import in_recipe
from partition_core.store.entry import Result

if TYPE_CHECKING:
    from partition_core.chain.pieces import Chain
    from partition_core.graph.file.graph import Model


def prove(plan: Plan, say: Say) -> bool:
    """Prove the partition; return whether that was necessary.

    Raises ProofError, and then nothing of it is published.
    """
    step = known(plan.prove(), "prove")

    def work(folder: Path) -> Notes:
        from partition_core.base.recording import load_reference
        from partition_core.graph.boundaries import coverage
        from partition_core.graph.file.graph_reader import read_model
        from partition_core.graph.recomputed import recomputed
        from partition_core.proof.proof import prove as prove_chain
        from partition_core.proof.reasons import half_dtype
        from partition_core.proof.summary import summary

        exported = _exported(plan)
        with (
            phase(f"{plan.recipe}: prove", say),
            laid_out(plan, plan.model_names) as (models, scratch),
        ):
            model = read_model(models[END2END])
            with in_recipe(plan.file):
                chain = chain_of(plan, model, models)
                covered = coverage(model, plan.segments)
                again = [str(one) for one in recomputed(model, plan.segments)]
            figures = prove_chain(
                models[END2END],
                model,
                chain,
                load_reference(stored(plan, exported.files[REFERENCE])),
                tolerance=plan.file.recipe.proof.tolerance_for(half_dtype(model)),
                detects=bool(exported.notes["detects"]),
                against=str(exported.notes.get("compared_with", "PyTorch")),
                scratch=scratch,
                kinds=exported.notes.get("probes", {}),
                assumptions=assumptions(exported),
            )
        content = _plain(
            {
                "proof": figures,
                "segments": chain.boundaries,
                "edges": chain.edges,
                "coverage": covered,
            }
        )
        (folder / PROOF).write_text(json.dumps(content), encoding="utf-8")
        untried = exported.notes.get(ZERO_OR_ONE, ())
        told = summary(figures, len(covered.uncovered), untried)
        return {"summary": "; ".join([told, *again])}

    return carry_out(plan, step, work)


def chain_of(plan: Plan, model: Model, models: Mapping[str, Path]) -> Chain:
    """Return the segments among the files `models`, and how they hang together in `model`.

    `model` is the end2end model. Raises CutError.
    """
    from partition_core.chain.pieces import Chain
    from partition_core.graph.boundaries import boundaries, edges

    return Chain(
        {segment.save_file: models[segment.save_file] for segment in plan.segments},
        boundaries(model, plan.segments),
        edges(model, plan.segments),
    )


def _exported(plan: Plan) -> Result:
    exported = plan.result(plan.export())
    if exported is None:
        raise lost(END2END)
    return exported


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
