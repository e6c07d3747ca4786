"""Runs one model in a process of its own and measures it: `python -m` this module.

Its arguments are the model, a file of arrays `<sample>/<name>` to read and one to write. It
prints its figures as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

_ENOUGH = 0.6  # seconds of runs
_RUNS = 30


def main(model: str, inputs: str, outputs: str) -> None:
    """Run the model on every sample, then the first one again and again."""
    samples: dict[str, dict[str, np.ndarray]] = {}
    with np.load(inputs, allow_pickle=False) as arrays:
        for key in arrays.files:
            number, name = key.split("/", 1)
            samples.setdefault(number, {})[name] = arrays[key]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter() - start
    names = [value.name for value in session.get_outputs()]
    made: dict[str, np.ndarray] = {}
    peak = None
    for number, sample in samples.items():
        before = _watch_memory() if peak is None and not made else None
        results = session.run(None, sample)
        if before is not None:
            peak = max(0, _memory("VmHWM") - before)
        made.update((f"{number}/{name}", one) for name, one in zip(names, results, strict=True))
    first = next(iter(samples.values()))
    times: list[float] = []
    while not times or (len(times) < _RUNS and sum(times) < _ENOUGH):
        start = time.perf_counter()
        session.run(None, first)
        times.append(time.perf_counter() - start)
    np.savez(outputs, allow_pickle=False, **made)
    print(json.dumps({"load": loaded, "runs": times, "peak": peak}))


def _watch_memory() -> int | None:
    """Forget the highest memory so far and return that of now; None where Linux does not tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _memory("VmRSS")
    except (OSError, StopIteration):
        return None


def _memory(what: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"{what}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
