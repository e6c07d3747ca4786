"""Times commands as whole processes."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GIVE_UP_AFTER = 300.0


@dataclass(frozen=True)
class Run:
    """What one process took; `peak_mb` is the largest resident size of one of its processes."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def timed(
    command: Sequence[str],
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    patience: float = GIVE_UP_AFTER,
) -> Run | str:
    """Run `command` in `folder`; return what it took, or its last line if it failed.

    The process that calls should be small: a child starts with the resident size of its parent.
    """
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            stderr=said,
            stdout=said,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})},
        )
        timer = threading.Timer(patience, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        timer.cancel()
        process.returncode = status
        if status:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else f"ended with status {status}"
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
