"""How fast models run in onnxruntime and how much memory they take, each in its own process.

Not for proving: onnxruntime optimizes here, as it does for whoever deploys the models.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.backends.onnxruntime.session import reason_of
from partition_core.base.array_sets import load_sets, save_sets
from partition_core.base.errors import BuildError, problem
from partition_core.base.folders import END2END
from partition_core.base.recording import Recording
from partition_core.graph.boundaries import MODEL_INPUT, MODEL_OUTPUT
from partition_core.proof.chained import Chain
from partition_core.proof.observed import Arrays

_RUNNER = "partition_core.backends.onnxruntime.measured_run"


@dataclass(frozen=True)
class Measured:
    """Seconds to load a model and of each run; bytes that a run takes beyond it at most.

    `peak` is None where the system does not tell. `where` names the day and the machine.
    """

    load: float
    runs: tuple[float, ...]
    peak: int | None
    where: str

    @property
    def median(self) -> float:
        """The median of the runs, in seconds."""
        return statistics.median(self.runs)


@dataclass(frozen=True)
class Figures:
    """What the models of a partition measured, by file, and what they gave for each sample.

    `whole` are the outputs of the end2end model, `chained` those of the segments in a chain.
    """

    models: Mapping[str, Measured]
    whole: Sequence[Arrays]
    chained: Sequence[Arrays]


def machine() -> str:
    """Return in a line what the figures were measured on."""
    system = f"{platform.system()} {platform.machine()}"
    threads = os.cpu_count() or 1
    return f"{_processor() or 'unknown processor'}, {threads} threads, {system}"


Run = Callable[[str, Path, Sequence[Arrays]], tuple[Measured, Sequence[Arrays]]]
"""Runs the model of a name and a path on every sample; see `measured`."""


def measure(
    end2end: Path, chain: Chain, recording: Recording, random: Collection[tuple[str, str]], run: Run
) -> Figures:
    """Run the end2end model and the segments in their order on every sample of `recording`.

    From it come the inputs that no segment gives, or that are among `random`, pairs of a segment
    and its output that is another one in each run.
    """
    samples = [recorded.inputs for recorded in recording.samples]
    models: dict[str, Measured] = {}
    models[END2END], whole = run(END2END, end2end, samples)
    made = [{(MODEL_INPUT, name): array for name, array in one.items()} for one in samples]
    for boundary in chain.boundaries:
        source = {
            edge.input: (edge.producer, edge.output)
            for edge in chain.edges
            if edge.consumer == boundary.save_file
            and edge.producer
            and (edge.producer, edge.output) not in random
        }
        fed = [
            {
                tensor.name: there[source[tensor.name]]
                if tensor.name in source
                else recorded.marks[tensor.reference]
                for tensor in boundary.inputs
            }
            for there, recorded in zip(made, recording.samples, strict=True)
        ]
        name = boundary.save_file
        models[name], given = run(name, chain.files[name], fed)
        for there, outputs in zip(made, given, strict=True):
            there.update(((name, output), array) for output, array in outputs.items())
    ends = [edge for edge in chain.edges if edge.consumer == MODEL_OUTPUT]
    chained = [{edge.input: there[edge.producer, edge.output] for edge in ends} for there in made]
    return Figures(models, whole, chained)


def measured(
    called: str, model: Path, samples: Sequence[Arrays], scratch: Path
) -> tuple[Measured, Sequence[Arrays]]:
    """Run a model on every sample in a process of its own; return figures and outputs.

    Raises BuildError if it cannot be run, with `called` for its name.
    """
    fed, given = scratch / "fed.npz", scratch / "given.npz"
    save_sets(samples, fed)
    paths = [str(path) for path in (model, fed, given)]
    command = [sys.executable, "-P", "-m", _RUNNER, *paths]
    run = subprocess.run(  # noqa: S603  # reason: our own module
        command, capture_output=True, text=True, check=False
    )
    if run.returncode != 0:
        last = reason_of(" ".join(run.stderr.strip().splitlines()[-1:]), model)
        raise BuildError(problem(called, f"it could not be measured in onnxruntime: {last}"))
    told = json.loads(run.stdout.splitlines()[-1])
    where = f"{datetime.date.today().isoformat()}, {machine()}"
    return Measured(told["load"], tuple(told["runs"]), told["peak"], where), load_sets(given)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()
