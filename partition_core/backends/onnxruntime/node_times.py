"""How long each node of a model takes, by onnxruntime's profiler."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path

import onnxruntime

from partition_core.backends.onnxruntime.session import Array, reason_of
from partition_core.base.errors import BuildError, problem

_SUFFIX = "_kernel_time"


def measured_seconds(
    model: Path, inputs: Mapping[str, Array], scratch: Path, runs: int = 5
) -> dict[str, float]:
    """Return the seconds that each node of `model` takes on the CPU, by name: medians of `runs`.

    Measured by onnxruntime's profiler, graph optimizations off so that every node is there, after
    a run that is not counted. Raises BuildError if it does not run.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = str(scratch / "times")
    try:
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        fed = {value.name: inputs[value.name] for value in session.get_inputs()}
        for _ in range(runs + 1):
            session.run(None, fed)
        events = json.loads(Path(session.end_profiling()).read_bytes())
    except Exception as error:  # onnxruntime's exceptions have no common class
        what, reason = "its times cannot be measured", reason_of(error, model)
        raise BuildError(problem("the model", what, reason)) from error
    times: dict[str, list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            times.setdefault(name.removesuffix(_SUFFIX), []).append(event["dur"] / 1e6)
    return {name: statistics.median(found[1:] or found) for name, found in times.items()}
