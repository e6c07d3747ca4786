"""Measures a converted segment and its ONNX file in turns, in one process: `python -m` this module.

Its arguments are the name of a backend, the file with the inputs of each sample, the ONNX file, and
the converted files. It prints the seconds of the runs as JSON, by `onnxruntime` and `target`.
Whatever slows the machine down slows both.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from partition_core.backends.backend import Backend, Runner, backend
from partition_core.backends.child_run import printed_by
from partition_core.base.array_sets import load_sets, save_sets
from partition_core.base.arrays import Arrays
from partition_core.base.errors import PartitionError

_ENOUGH = 1.0  # seconds of runs of both
_RUNS = 30
_MODULE = "partition_core.backends.turns"


def times_in_turns(
    called: str, engine: Backend, model: Path, files: Sequence[Path], sample: Arrays, scratch: Path
) -> dict[str, list[float]]:
    """Return the seconds of runs of the ONNX file `model` and of its converted files.

    In a process of its own. Raises BuildError, which calls the model `called`, if one of them
    cannot be run.
    """
    fed = scratch / "fed.npz"
    save_sets([sample], fed)
    printed = printed_by(_MODULE, called, engine, fed, model, *files)
    times: dict[str, list[float]] = json.loads(printed)
    return times


def main(name: str, inputs: str, model: str, *files: str) -> None:
    """Run both on the first sample, one after the other, and print the times."""
    sample = load_sets(Path(inputs))[0]
    runs = {
        "onnxruntime": backend("onnxruntime").load(Path(model)),
        "target": backend(name).load(*map(Path, files)),
    }
    for run in runs.values():
        run(sample)
    times: dict[str, list[float]] = {called: [] for called in runs}
    while len(times["target"]) < _RUNS and sum(map(sum, times.values())) < _ENOUGH:
        for called, run in runs.items():
            times[called].append(_seconds(run, sample))
    print(json.dumps(times))


def _seconds(run: Runner, sample: Arrays) -> float:
    start = time.perf_counter()
    run(sample)
    return time.perf_counter() - start


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PartitionError as error:
        sys.exit(str(error))
