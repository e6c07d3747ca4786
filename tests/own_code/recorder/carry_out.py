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
from partition_core.build import work
from partition_core.build.fingerprint_entries import measuring_inputs
from partition_core.build.own_code import ASIDE
from partition_core.build.plan import Plan
from partition_core.build.run import RecipeBuild, Run


def main(root: str, recipe: str, step: str, folder: str, what: str) -> None:
    """Write the fingerprint of the step and the files that it runs into the folder."""
    (build,) = Run(Path(root), [recipe]).builds
    if step == "measure":
        entries, body = tuple(measuring_inputs(build.plan.project)), _measuring(build.plan)
    else:
        entries = work.known(build.plan.step(step), step).fingerprint.entries
        body = _carrying_out(build, step)
    (Path(folder) / "entries").write_text(json.dumps(entries), encoding="utf-8")
    os.environ[FOLDER] = folder
    aside = [name.replace(".", "/") for name in ASIDE]
    recording = Recording(aside, calls=what == "calls")
    assert body() is not False, "there was nothing to do"
    recording.write()


def _carrying_out(build: RecipeBuild, step: str) -> Callable[[], object]:
    """Return what carries out a step; the module of the step is not imported yet."""
    name, _, segment = step.partition(" ")
    return functools.partial(getattr(build, name), *([segment] if segment else []), print)


def _measuring(plan: Plan) -> Callable[[], object]:
    exported = plan.result(plan.export())
    assert exported is not None
    path = work.stored(plan, exported.files[RECORDING])
    sample = load_recording(path).samples[0].inputs

    def measure() -> object:
        from partition_core.build.steps.measure import measure_model

        with work.laid_out(plan, [END2END]) as (models, _):
            return measure_model(plan, print, END2END, models[END2END], [sample])

    return measure


if __name__ == "__main__":
    main(*sys.argv[1:])
