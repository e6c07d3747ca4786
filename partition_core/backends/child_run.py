"""Runs a loaded model in a process of its own: a runtime that crashes ends nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from partition_core.backends.backend import Backend
from partition_core.base.array_sets import load_sets, save_sets
from partition_core.base.arrays import Arrays
from partition_core.base.errors import BuildError
from partition_core.base.wording import one_line, signal_name

MEASURED, SINGLE = (f"partition_core.backends.{each}_run" for each in ("measured", "single"))
"""The modules that run a model: many times, with figures, or once on each sample without any."""


def run_in_process(
    called: str,
    engine: Backend,
    files: Sequence[Path],
    samples: Sequence[Arrays],
    scratch: Path,
    runner: str = MEASURED,
) -> tuple[dict[str, Any], Sequence[Arrays]]:
    """Return the figures of `runner`, and the outputs for each sample.

    `engine` loads the `files` with its default settings. Raises BuildError, which calls the model
    `called`, if it cannot be run.
    """
    fed, outputs = scratch / "fed.npz", scratch / "given.npz"
    save_sets(samples, fed)
    command = [sys.executable, "-P", "-m", runner, engine.name, *map(str, (fed, outputs, *files))]
    run = subprocess.run(  # noqa: S603  # reason: our own module
        command, capture_output=True, text=True, check=False
    )
    if run.returncode != 0:
        last = one_line(" ".join(run.stderr.strip().splitlines()[-1:]), files[0].parent)
        ended = f"ended by {signal_name(-run.returncode)}" if run.returncode < 0 else last
        raise BuildError.at(called, f"it cannot be run in {engine.name}: {ended}")
    return json.loads(run.stdout.splitlines()[-1]), load_sets(outputs)
