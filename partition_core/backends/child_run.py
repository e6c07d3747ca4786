"""Runs a module of ours on a model in a process of its own: a crash there ends nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from partition_core.backends.backend import Backend
from partition_core.base.errors import BuildError
from partition_core.base.wording import one_line, signal_name


def printed_by(module: str, called: str, engine: Backend, *paths: Path) -> str:
    """Return the last line that a module prints, given the backend's name and `paths`.

    The last of them is a file of the model. Raises BuildError, which calls the model `called`, if
    it cannot be run.
    """
    run = subprocess.run(  # noqa: S603  # reason: our own module
        [sys.executable, "-P", "-m", module, engine.name, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        last = one_line(" ".join(run.stderr.strip().splitlines()[-1:]), paths[-1].parent)
        ended = f"ended by {signal_name(-run.returncode)}" if run.returncode < 0 else last
        raise BuildError.at(called, f"it cannot be run in {engine.name}: {ended}")
    return "".join(run.stdout.splitlines()[-1:])
