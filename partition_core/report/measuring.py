"""Measures the latency and memory of models, each in its own process.

Not for proving: onnxruntime optimizes here, as it does when the models are deployed.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.backends.backend import Backend
from partition_core.backends.measured_run import measured_outputs
from partition_core.backends.onnxruntime.backend import OnnxRuntime
from partition_core.base.arrays import Array, Arrays
from partition_core.base.folders import END2END
from partition_core.base.recording import Recording
from partition_core.chain.pieces import MODEL_OUTPUT, Chain, Tensor
from partition_core.chain.run import add, feeds_of, initial_values, walk

_ENGINE = OnnxRuntime()


@dataclass(frozen=True)
class Measured:
    """Seconds to load a model and of each run; the peak bytes of a run beyond the loaded model.

    `peak` is None where the system does not report it. `where` names the day and the machine. A
    model that cannot be run here has no runs.
    """

    load: float
    runs: tuple[float, ...]
    peak: int | None
    where: str

    @property
    def median(self) -> float:
        """The median of the runs, in seconds; 0 if there are none."""
        return statistics.median(self.runs) if self.runs else 0.0


@dataclass(frozen=True)
class Figures:
    """The measurements of a partition's models, by file, and their outputs for each sample.

    `whole` are the outputs of the end2end model, `chained` those of the segments in a chain, and
    `fed` the inputs of each segment for the first sample.
    """

    models: Mapping[str, Measured]
    whole: Sequence[Arrays]
    chained: Sequence[Arrays]
    fed: Mapping[str, Arrays]


def machine() -> str:
    """Return one line on the machine that the figures were measured on."""
    system = f"{platform.system()} {platform.machine()}"
    threads = os.cpu_count() or 1
    return f"{_processor() or 'unknown processor'}, {threads} threads, {system}"


def where() -> str:
    """Return the day and the machine of a measurement."""
    return f"{datetime.date.today().isoformat()}, {machine()}"


Run = Callable[[str, Path, Sequence[Arrays]], tuple[Measured, Sequence[Arrays]]]
"""Runs the model with a name and a path on every sample; see `measured`."""


_NOT_RUN = Measured(0.0, (), None, "")


def measure(
    end2end: Path,
    chain: Chain,
    recording: Recording,
    random: Collection[tuple[str, str]],
    run: Run,
    not_run: Collection[str] = (),
) -> Figures:
    """Run the end2end model and the segments in their order on every sample of `recording`.

    Inputs that no segment outputs, or that are among `random`, come from the recording. `random`
    are pairs of a segment and its output that differs between runs. The models `not_run` cannot
    be run.
    """
    samples = [recorded.inputs for recorded in recording.samples]
    models: dict[str, Measured] = {}
    whole: Sequence[Arrays] = ()
    models |= dict.fromkeys(not_run, _NOT_RUN)
    if END2END not in not_run:
        models[END2END], whole = run(END2END, end2end, samples)
    feeds = feeds_of(edge for edge in chain.edges if (edge.producer, edge.output) not in random)
    made = initial_values(samples)

    def recorded(number: int, tensor: Tensor) -> Array:
        array: Array = recording.samples[number].marks[tensor.reference]
        return array

    boundaries = [each for each in chain.boundaries if each.save_file not in not_run]
    first: dict[str, Arrays] = {}
    for segment, fed in walk(boundaries, feeds, made, recorded):
        name = segment.save_file
        first[name] = fed[0]
        models[name], outputs = run(name, chain.files[name], fed)
        add(made, segment, outputs)
    ends = [edge for edge in chain.edges if edge.consumer == MODEL_OUTPUT]
    if not_run:
        return Figures(models, whole, (), first)
    chained = [{edge.input: arrays[edge.producer, edge.output] for edge in ends} for arrays in made]
    return Figures(models, whole, chained, first)


def measured(
    called: str,
    model: Path,
    samples: Sequence[Arrays],
    scratch: Path,
    engine: Backend = _ENGINE,
) -> tuple[Measured, Sequence[Arrays]]:
    """Run a model on every sample in a process of its own; return figures and outputs.

    `engine` runs it with its own settings; `scratch` is a folder for converted models. Raises
    BuildError, which calls the model `called`, if it cannot be run.
    """
    files = engine.convert(model, scratch).files
    figures, outputs = measured_outputs(called, engine, files, samples, scratch)
    return Measured(figures["load"], tuple(figures["runs"]), figures["peak"], where()), outputs


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
