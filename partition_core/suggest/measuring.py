"""Measures in a run: sizes that depend on the data, and how long each node takes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from partition_core.backends.onnxruntime.backend import OnnxRuntime, Plain
from partition_core.base.arrays import Array
from partition_core.base.errors import BuildError, RunError
from partition_core.base.wording import one_line
from partition_core.graph.more_outputs import with_outputs
from partition_core.suggest.flow import Dims

_CALLED = "the model"


def measured_dims(
    model: Path, names: Sequence[str], inputs: Mapping[str, Array], scratch: Path
) -> dict[str, Dims]:
    """Return the dims that the tensors `names` have when `model` runs on `inputs`.

    `scratch` takes a copy of the model. Raises ProofError if it does not run.
    """
    if not names:
        return {}
    run = Plain(_CALLED).load(with_outputs(model, names, scratch / "every_size.onnx"))
    arrays = run(inputs)
    return {name: np.shape(arrays[name]) for name in names}


def measured_seconds(
    model: Path, inputs: Mapping[str, Array], scratch: Path, runs: int = 5
) -> dict[str, float]:
    """Return the seconds that each node of `model` takes on the CPU, by name: medians of `runs`.

    Graph optimizations are off so that every node runs, and a first run is not counted. Raises
    BuildError if it does not run.
    """
    try:
        run = OnnxRuntime(optimize=False, profile=scratch).load(model)
        for _ in range(runs + 1):
            run(inputs)
    except RunError as error:
        reason = one_line(error, model.parent)
        raise BuildError.at(_CALLED, "its times cannot be measured", reason) from error
    return {
        name: statistics.median(times[1:] or times) for name, times in run.node_seconds().items()
    }
