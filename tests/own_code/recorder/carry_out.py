"""Carries out one step of a recipe and records what it runs.

python -m carry_out PROJECT RECIPE STEP FOLDER calls|imports
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from recording import FOLDER, Recording

from partition_core.base.folders import END2END, RECORDING
from partition_core.base.recording import load_recording
from partition_core.build.fingerprint_entries import measuring_entries
from partition_core.build.own_code import ASIDE
from partition_core.build.plan import Plan
from partition_core.build.run import Run
from partition_core.build.step import models_on_disk


def main(root: str, recipe: str, step: str, folder: str, what: str) -> None:
    """Write the fingerprint of the step and the files that it runs into the folder."""
    (build,) = Run(Path(root), [recipe]).builds
    if step == "measure":
        entries, body = tuple(measuring_entries(build.plan.job())), _measuring(build.plan)
    else:
        planned = build.plan.step(step)
        assert planned is not None
        entries, body = planned.fingerprint.entries, functools.partial(build.carry_out, step, print)
    (Path(folder) / "entries").write_text(json.dumps(entries), encoding="utf-8")
    os.environ[FOLDER] = folder
    aside = [name.replace(".", "/") for name in ASIDE]
    recording = Recording(aside, calls=what == "calls")
    assert body() is not False, "there was nothing to do"
    recording.write()


def _measuring(plan: Plan) -> Callable[[], object]:
    assert plan.result_of("export") is not None
    job = plan.job()
    recording = load_recording(job.path(job.result("export").files[RECORDING]))
    sample = recording.samples[0].inputs

    def measure() -> object:
        from partition_core.build.measurements import measure_model

        with models_on_disk(job, [END2END]) as (models, _):
            return measure_model(job, END2END, models[END2END], [sample])

    return measure


if __name__ == "__main__":
    main(*sys.argv[1:])
