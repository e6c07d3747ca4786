"""The measuring of a model, for the report; its figures are kept by model, inputs and versions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from partition_core.base.disk import file_digest
from partition_core.base.fingerprint import Fingerprint
from partition_core.base.progress import Say, phase
from partition_core.build.fingerprint_entries import measuring_inputs
from partition_core.build.forms import MEASURE, OUTPUTS, fits
from partition_core.build.plan import Plan, digests_of
from partition_core.build.work import stored
from partition_core.store.entry import Origin

if TYPE_CHECKING:
    from partition_core.proof.observed import Arrays
    from partition_core.report.measuring import Measured


def measure_model(
    plan: Plan, say: Say, name: str, path: Path, samples: Sequence[Arrays]
) -> tuple[Measured, Sequence[Arrays]]:
    """Measure a model on some samples, unless the store knows what that gave."""
    from partition_core.base.array_sets import load_sets, save_sets
    from partition_core.report.measuring import Measured, measured

    store = plan.project.store
    with store.private_folder() as folder:
        save_sets(samples, folder / "samples.npz")
        entries = (
            *digests_of("model", plan.models_made()[name]),
            ("samples", file_digest(folder / "samples.npz")),
            *measuring_inputs(plan.project),
        )
        key = Fingerprint(entries).key
        known = store.fetch(key, lambda result: fits(f"{MEASURE} {name}", key, result, (OUTPUTS,)))
        if known is not None:
            told = known.notes
            figures = Measured(told["load"], tuple(told["runs"]), told["peak"], told["where"])
            return figures, load_sets(stored(plan, known.files[OUTPUTS]))
        start = time.monotonic()
        with phase(f"{plan.recipe}: measure {name}", say):
            figures, given = measured(name, path, samples, folder)
        save_sets(given, folder / OUTPUTS)
        origin = Origin(plan.recipe, f"{MEASURE} {name}", round(time.monotonic() - start, 1))
        store.keep(key, {OUTPUTS: folder / OUTPUTS}, dataclasses.asdict(figures), origin)
        return figures, given
