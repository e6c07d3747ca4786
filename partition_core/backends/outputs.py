"""Runs a loaded model on every sample, in its own process: `python -m` this module.

Its arguments are the name of a backend, the file with the inputs of each sample, the file to write
the outputs to, and the model's files.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from partition_core.backends.backend import Backend, backend
from partition_core.backends.child_run import printed_by
from partition_core.base.array_sets import load_sets, save_sets
from partition_core.base.arrays import Arrays
from partition_core.base.errors import PartitionError

_MODULE = "partition_core.backends.outputs"


def outputs_of(
    called: str, engine: Backend, files: Sequence[Path], samples: Sequence[Arrays], scratch: Path
) -> Sequence[Arrays]:
    """Return the outputs for each sample, from a process of its own.

    `engine` loads the `files` with its default settings. Raises BuildError, which calls the model
    `called`, if it cannot be run.
    """
    fed, outputs = scratch / "fed.npz", scratch / "given.npz"
    save_sets(samples, fed)
    printed_by(_MODULE, called, engine, fed, outputs, *files)
    return load_sets(outputs)


def main(name: str, inputs: str, outputs: str, *paths: str) -> None:
    """Write the outputs for each sample."""
    run = backend(name).load(*map(Path, paths))
    save_sets([run(sample) for sample in load_sets(Path(inputs))], Path(outputs))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PartitionError as error:
        sys.exit(str(error))
