"""Runs one model once on each sample, in its own process: `python -m` this module.

Its arguments are those of `measured_run`; it measures nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from partition_core.backends.backend import backend
from partition_core.base.array_sets import load_sets, save_sets
from partition_core.base.errors import PartitionError


def main(name: str, inputs: str, outputs: str, *paths: str) -> None:
    """Run every sample."""
    run = backend(name).load(*map(Path, paths))
    save_sets([run(sample) for sample in load_sets(Path(inputs))], Path(outputs))
    print("{}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PartitionError as error:
        sys.exit(str(error))
