"""Runs one model in a process of its own and measures it: `python -m` this module.

Its arguments are the model, a file with the inputs of each sample to read, and one to write with
what it gives. It prints its figures as JSON: seconds to load, seconds of each run, and the peak in
bytes.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime

from partition_core.backends.onnxruntime.values import run
from partition_core.base.array_sets import load_sets, save_sets

_ENOUGH = 0.5  # seconds of runs
_RUNS = 30
_MMAP_THRESHOLD = -3  # malloc.h: M_MMAP_THRESHOLD
_LARGE = 64 << 10

Sample = dict[str, Any]


def main(model: str, inputs: str, outputs: str) -> None:
    """Measure memory, then run every sample and the first one again and again for the time."""
    samples = load_sets(Path(inputs))
    first = samples[0]
    peak = _peak(model, first)
    start = time.perf_counter()
    session = _session(model)
    loaded = time.perf_counter() - start
    run(session, first)
    times: list[float] = []
    made = [_timed(session, sample, times) for sample in samples]
    while len(times) < _RUNS and sum(times) < _ENOUGH:
        _timed(session, first, times)
    save_sets(made, Path(outputs))
    print(json.dumps({"load": loaded, "runs": times, "peak": peak}))


def _session(model: str, arena: bool = True) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = arena
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _timed(session: Any, sample: Sample, times: list[float]) -> dict[str, Any]:
    start = time.perf_counter()
    results = run(session, sample)
    times.append(time.perf_counter() - start)
    return results


def _peak(model: str, sample: Sample) -> int | None:
    """Return the bytes that a run takes beyond the loaded model; None where nobody tells.

    Without an arena, onnxruntime frees each tensor when it was last read. glibc then gives its
    memory back at once if it was told where large pieces begin; otherwise what the loading left
    behind would serve the run, and hide it.
    """
    glibc = ctypes.CDLL(None)
    if not (hasattr(glibc, "malloc_trim") and hasattr(glibc, "mallopt")):
        return None
    glibc.mallopt(_MMAP_THRESHOLD, _LARGE)
    session = _session(model, arena=False)
    glibc.malloc_trim(0)
    try:
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the highest
        run(session, sample)
        return max(0, _memory("VmHWM") - before)
    except (OSError, StopIteration):
        return None


def _memory(what: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"{what}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
