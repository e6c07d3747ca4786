"""Loads a converted segment and runs it, in a process of its own: `python -m` this module.

Its arguments are the name of a backend, the ends of the segment as JSON, once for each run, and the
converted files. What is wrong is its only output. A file that crashes its runtime crashes no build
here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np

from partition_core.backends.backend import Runner, backend
from partition_core.backends.converter import run_as_program
from partition_core.backends.segment_file import Ends, Port
from partition_core.base.arrays import Array
from partition_core.base.errors import RunError


def as_argument(*runs: Ends) -> str:
    """Return the ends of a segment, once for each run, as the argument of this module."""
    return json.dumps([[[astuple(port) for port in side] for side in ends] for ends in runs])


def main(backend_name: str, runs: str, *files: str) -> None:
    """Load the files, and run them on inputs of each of the sizes; check the outputs' types.

    Ends whose inputs have free sizes are not run. Raises PartitionError.
    """
    run = backend(backend_name).load(*map(Path, files))
    for ends in json.loads(runs):
        inputs, outputs = (
            [Port(name, dtype, tuple(dims)) for name, dtype, dims in side] for side in ends
        )
        _try_out(run, inputs, outputs)


def _try_out(run: Runner, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    generator = np.random.default_rng(0)
    samples = {
        port.name: _sample(port, port.shape, generator) for port in inputs if port.shape is not None
    }
    if len(samples) < len(inputs):
        return
    results = run(samples)
    for port in outputs:
        if differs := _difference(port, results):
            raise RunError.at(f"output '{port.name}'", differs, f"expected {port}")


def _sample(port: Port, shape: Sequence[int], generator: np.random.Generator) -> Array:
    # An integer may be an index, and 0 always is one.
    drawn: Array = generator.uniform(size=shape)
    return (drawn if port.dtype.startswith("float") else np.zeros(shape)).astype(port.dtype)


def _difference(port: Port, results: Mapping[str, Array]) -> str:
    if port.name not in results:
        return "there is none with this name"
    array = results[port.name]
    fits = len(array.shape) == len(port.dims) and all(
        not isinstance(dim, int) or dim == size
        for dim, size in zip(port.dims, array.shape, strict=True)
    )
    if fits and array.dtype.name == port.dtype:
        return ""
    return f"it is {array.dtype.name}[{', '.join(map(str, array.shape))}]"


if __name__ == "__main__":
    run_as_program(main)
