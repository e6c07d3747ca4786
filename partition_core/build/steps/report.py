"""The step of the report: every model is measured, once, then the page is written."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.base.errors import BuildError, problem
from partition_core.base.folders import END2END, RECORDING, REPORT
from partition_core.base.progress import Say, phase
from partition_core.base.wording import warn
from partition_core.build.fingerprint_entries import versions
from partition_core.build.plan import PROOF, Plan, Step
from partition_core.build.steps.measure import measure_model
from partition_core.build.steps.prove import chain_of
from partition_core.build.work import Notes, carry_out, known, laid_out, stored
from partition_core.store.entry import Result

if TYPE_CHECKING:
    from partition_core.base.recording import Recording
    from partition_core.graph.file.graph import Model
    from partition_core.report.measuring import Figures
    from partition_core.report.source import Source

_PACKAGES = ("partition-core", "onnx", "onnxruntime", "torch", "mmdet", "mmengine", "numpy")
_REMEDY = "check that `import pygraphviz` works, then build again"


def report(plan: Plan, say: Say) -> bool:
    """Write the report of a recipe; return whether that was necessary.

    Where Graphviz cannot be used, the report has no map and says so. Raises BuildError if it
    can, but not for this map.
    """

    def work(folder: Path) -> Notes:
        from partition_core.report.composing import compose
        from partition_core.report.layout import obstacle
        from partition_core.report.map import partition_map
        from partition_core.report.writing import page

        source = _source(plan, say)
        with phase(f"{plan.recipe}: report", say):
            drawn = "" if obstacle() else partition_map(source.overview)
            version = dict(versions(_PACKAGES)).get("partition-core", "")
            text = page(compose(source), drawn, version, obstacle())
            (folder / REPORT).write_text(text, encoding="utf-8")
        if not drawn:
            warn(f"{plan.recipe}: the report has no map: {obstacle()}; {_REMEDY}")
        return {}

    return carry_out(plan, known(plan.report(), "report"), work)


def _figures(
    plan: Plan, model: Model, recording: Recording, proof: Mapping[str, Any], say: Say
) -> Figures:
    from partition_core.report.measuring import measure

    random = {(one["segment"], one["output"]) for one in proof["unproven"]}
    run = functools.partial(measure_model, plan, say)
    with laid_out(plan, plan.model_names) as (models, _):
        chain = chain_of(plan, model, models)
        return measure(models[END2END], chain, recording, random, run)


def _source(plan: Plan, say: Say) -> Source:
    from partition_core.base.recording import load_recording
    from partition_core.graph.marks import marks_of
    from partition_core.report.overview import overview, sizes_in
    from partition_core.report.source import Source

    exported, proven = plan.export(), plan.prove()
    model = _model(plan)
    recording = load_recording(_file(plan, exported, RECORDING))
    shapes = {
        name: value.shape
        for name, value in recording.samples[0].marks.items()
        if not isinstance(value, list)
    }
    proof = json.loads(_file(plan, proven, PROOF).read_bytes())
    figures = _figures(plan, model, recording, proof["proof"], say)
    return Source(
        recipe=plan.file.recipe,
        recipe_file=plan.file.file,
        recipe_text=plan.project.recipe_path(plan.recipe).read_text(encoding="utf-8"),
        overview=overview(model, plan.segments, sizes_in(model, shapes)),
        models={name: model.file.size for name, model in (plan.models() or {}).items()},
        proven=proof,
        summary=str(_result(plan, proven).notes["summary"]),
        export=_result(plan, exported).notes,
        recording=recording,
        figures=figures,
        marks=[str(tensor) for tensor in marks_of(model).tensors],
        provenance=list(_provenance(plan)),
    )


def _provenance(plan: Plan) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield tables for the page: digests, versions, and all that each step depends on."""
    models = plan.models() or {}
    yield "Files", [(name, f"sha256 {model.file.digest}") for name, model in models.items()]
    yield "Versions", list(versions(_PACKAGES))
    for name, step in plan.steps():
        if step is not None and name != "report":
            entries = [*step.fingerprint.entries, ("key", step.key)]
            yield f"What the result of “{name}” depends on", entries


def _model(plan: Plan) -> Model:
    from partition_core.graph.file.graph_reader import read_model

    return read_model(_file(plan, plan.export(), END2END))


def _file(plan: Plan, step: Step | None, name: str) -> Path:
    return stored(plan, _result(plan, step).files[name])


def _result(plan: Plan, step: Step | None) -> Result:
    result = plan.result(step)
    if result is None:
        raise BuildError(
            problem("report", "what it tells of is not in the store any more", "", "build again")
        )
    return result
