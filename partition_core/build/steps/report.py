"""The report: every model is measured once, then the page is written."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.folders import COMPARISON, END2END, RECORDING, REPORT
from partition_core.base.packages import installed, versions
from partition_core.base.wording import warn
from partition_core.build.fingerprint_entries import common_entries, running_versions
from partition_core.build.measurements import measure_in_turns, measure_model
from partition_core.build.step import Outcome, StepJob, digests_of, models_on_disk
from partition_core.build.steps.prove import PROOF, chain_of
from partition_core.recipe.values import canonical_json

if TYPE_CHECKING:
    from partition_core.base.recording import Recording
    from partition_core.build.note_checks import NoteCheck
    from partition_core.graph.file.graph import Model
    from partition_core.report.measuring import Figures
    from partition_core.report.source import Source, TargetResult

NOTES: Mapping[str, NoteCheck] = {}

_SHOWN = ("partition-core", "onnx", "onnxruntime", "torch", "mmdet", "mmengine", "numpy")
"""The packages whose versions a page shows."""
_PACKAGES = ("jinja2", "markupsafe", "pillow", "pygraphviz", "torch", "mmdet", "mmengine")
_REMEDY = "check that `import pygraphviz` works, then build again"


def files(_job: StepJob, _subject: str = "") -> tuple[str, ...]:
    """Return the page."""
    return (REPORT,)


def entries(job: StepJob, _: str = "") -> Iterator[tuple[str, str]]:
    """Yield the recipe with its text, the models, and the keys of the other steps.

    The figures vary, so nothing else depends on a report.
    """
    from partition_core.report.layout import obstacle

    yield "recipe", canonical_json(job.recipe)
    yield from ((f"step {name}", step.key) for name, step in job.steps.items())
    for name, model in job.models.items():
        yield from digests_of(name, model)
    for path in job.file.sources:
        yield f"text {path.name}", job.digests.of(path) or ""
    for target, problems in job.failures.items():
        yield f"failed {target}", canonical_json([str(problem) for problem in problems])
    # The same inputs give a different report without Graphviz.
    yield "map", "left out" if obstacle() else "drawn"
    packages = (*running_versions(), *installed(_PACKAGES))
    yield from common_entries(job, "report", iter(packages))


def work(job: StepJob, _: str = "") -> Callable[[Path], Outcome]:
    """Return the function that writes the page.

    Without Graphviz the page has no map and says so; BuildError is raised if Graphviz works but
    fails on this map.
    """

    def write(folder: Path) -> Outcome:
        from partition_core.report.composing import compose
        from partition_core.report.layout import obstacle
        from partition_core.report.map import partition_map
        from partition_core.report.writing import page

        source = _source(job)
        with job.phase("report"):
            drawn = "" if obstacle() else partition_map(source.overview)
            version = dict(versions(_SHOWN)).get("partition-core", "")
            text = page(compose(source), drawn, version, obstacle())
            (folder / REPORT).write_text(text, encoding="utf-8")
        if not drawn:
            warn(f"{job.recipe.name}: the report has no map: {obstacle()}; {_REMEDY}")
        return Outcome({})

    return write


def _figures(job: StepJob, model: Model, recording: Recording, proof: Mapping[str, Any]) -> Figures:
    from partition_core.report.measuring import measure

    random = {(output["segment"], output["output"]) for output in proof["unproven"]}
    run = functools.partial(measure_model, job)
    with models_on_disk(job, job.model_names) as (models, _):
        chain = chain_of(job, model, models)
        lacking = proof["not_run"]
        not_run = [*lacking["segments"], *([END2END] if lacking["operators"] else [])]
        return measure(models[END2END], chain, recording, random, run, not_run)


def _source(job: StepJob) -> Source:
    from partition_core.base.recording import load_recording
    from partition_core.graph.file.graph_reader import read_model
    from partition_core.graph.marks import marks_of
    from partition_core.report.overview import overview, sizes_in
    from partition_core.report.source import Source

    exported, proven = job.result("export"), job.result("prove")
    model = read_model(job.path(exported.files[END2END]))
    recording = load_recording(job.path(exported.files[RECORDING]))
    shapes = {
        name: value.shape
        for name, value in recording.samples[0].marks.items()
        if not isinstance(value, list)
    }
    proof = json.loads(job.path(proven.files[PROOF]).read_bytes())
    figures = _figures(job, model, recording, proof["proof"])
    return Source(
        recipe=job.recipe,
        recipe_file=job.file.file,
        recipe_text=job.file.sources[0].read_text(encoding="utf-8"),
        overview=overview(model, job.segments, sizes_in(model, shapes)),
        models={name: model.file.size for name, model in job.models.items()},
        proven=proof,
        summary=str(proven.notes["summary"]),
        export=exported.notes,
        recording=recording,
        figures=figures,
        marks=[str(tensor) for tensor in marks_of(model).tensors],
        provenance=list(_provenance(job)),
        targets=list(_targets(job, figures)),
        failed={name: list(map(str, problems)) for name, problems in job.failures.items()},
    )


def _targets(job: StepJob, figures: Figures) -> Iterator[TargetResult]:
    """Yield the targets that agree, each measured in turns with onnxruntime."""
    from partition_core.backends.backend import backend
    from partition_core.report.source import TargetResult

    for target in job.recipe.partition.targets:
        compared = job.results.get(f"compare {target.folder}")
        if compared is None:
            continue
        engine = backend(target.backend, target.precision)
        with models_on_disk(job, [target.segment]) as (models, _):
            segment, sample = models[target.segment], figures.fed[target.segment]
            times = measure_in_turns(job, target, engine, segment, sample)
        yield TargetResult(
            target.folder,
            target.segment,
            target.name,
            sum(file.size for file in job.result(f"convert {target.folder}").files.values()),
            json.loads(job.path(compared.files[COMPARISON]).read_bytes()),
            times["target"],
            times["onnxruntime"],
        )


def _provenance(job: StepJob) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield tables for the page: digests, versions, and everything each step depends on."""
    yield "Files", [(name, f"sha256 {model.file.digest}") for name, model in job.models.items()]
    yield "Versions", list(versions(_SHOWN))
    for name, step in job.steps.items():
        entries = [*step.fingerprint.entries, ("key", step.key)]
        yield f"What the result of “{name}” depends on", entries
