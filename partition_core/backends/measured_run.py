"""Runs one model in its own process and measures it: `python -m` this module.

Its arguments are the name of a backend, the file with the inputs of each sample, the file to write
the outputs to, and the model's files. It prints its figures as JSON: seconds to load, seconds of
each run, and the peak in bytes.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from partition_core.backends.backend import Backend, Runner, backend
from partition_core.backends.child_run import printed_by
from partition_core.base.array_sets import load_sets, save_sets
from partition_core.base.arrays import Arrays
from partition_core.base.errors import PartitionError

_ENOUGH = 0.5  # seconds of runs
_RUNS = 30
_MMAP_THRESHOLD = -3  # malloc.h: M_MMAP_THRESHOLD
_LARGE = 64 << 10

_MODULE = "partition_core.backends.measured_run"

Sample = dict[str, Any]


def measured_outputs(
    called: str, engine: Backend, files: Sequence[Path], samples: Sequence[Arrays], scratch: Path
) -> tuple[dict[str, Any], Sequence[Arrays]]:
    """Return the figures of a run in a process of its own, and the outputs for each sample.

    `engine` loads the `files` with its default settings. Raises BuildError, which calls the model
    `called`, if it cannot be run.
    """
    fed, outputs = scratch / "fed.npz", scratch / "given.npz"
    save_sets(samples, fed)
    figures = json.loads(printed_by(_MODULE, called, engine, fed, outputs, *files))
    return figures, load_sets(outputs)


def main(name: str, inputs: str, outputs: str, *paths: str) -> None:
    """Measure memory, then run every sample, and repeat the first one for the time."""
    chosen, files = backend(name), tuple(map(Path, paths))
    samples = load_sets(Path(inputs))
    first = samples[0]
    peak = _peak(chosen, files, first)
    start = time.perf_counter()
    run = chosen.load(*files)
    loaded = time.perf_counter() - start
    run(first)
    times: list[float] = []
    outputs_of = [_timed(run, sample, times) for sample in samples]
    while len(times) < _RUNS and sum(times) < _ENOUGH:
        _timed(run, first, times)
    save_sets(outputs_of, Path(outputs))
    print(json.dumps({"load": loaded, "runs": times, "peak": peak}))


def _timed(run: Runner, sample: Sample, times: list[float]) -> dict[str, Any]:
    start = time.perf_counter()
    results = run(sample)
    times.append(time.perf_counter() - start)
    return results


def _peak(chosen: Backend, files: Sequence[Path], sample: Sample) -> int | None:
    """Return the bytes that a run needs beyond the loaded model; None if unknown on this system.

    A frugal backend frees each tensor after its last read. With a low mmap threshold, glibc then
    returns the memory at once; otherwise the run would reuse memory freed after loading, and hide
    its own need.
    """
    glibc = ctypes.CDLL(None)
    if not (hasattr(glibc, "malloc_trim") and hasattr(glibc, "mallopt")):
        return None
    glibc.mallopt(_MMAP_THRESHOLD, _LARGE)
    run = chosen.frugal().load(*files)
    glibc.malloc_trim(0)
    try:
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak
        run(sample)
        return max(0, _memory("VmHWM") - before)
    except (OSError, StopIteration):
        return None


def _memory(what: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"{what}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PartitionError as error:
        sys.exit(str(error))
