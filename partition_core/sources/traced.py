"""Loads, runs and exports models that are traced in PyTorch, whatever their source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from partition_core.base.arrays import Arrays
from partition_core.base.build_name import BuildName
from partition_core.base.errors import ExportError
from partition_core.graph.conformance import input_differences
from partition_core.graph.files import save_traced
from partition_core.graph.stored_models import END2END_PLACEMENTS
from partition_core.recipe.input_forms import TensorType
from partition_core.recipe.places import in_recipe
from partition_core.recipe.values import Checkpoint, MmdetModel, OnnxModel, Recipe, Seed
from partition_core.sources.job import Job
from partition_core.sources.source import Exported, Pinned, source_of
from partition_core.trace.checkpoint import load_state
from partition_core.trace.exporter import Phase, TracedExport, export_model
from partition_core.trace.rounded import as_array
from partition_core.trace.seed_weights import seed_weights
from partition_core.trace.traceable_model import TraceableModel, run_model


def export(job: Job, pinned: Pinned | None) -> Exported:
    """Return the model of a job's recipe, exported by PyTorch; raises PartitionError."""
    recipe, checkpoint = job.recipe, pinned[0] if pinned else None
    with in_recipe(job.file):
        traced = export_recipe(
            recipe,
            job.root,
            checkpoint,
            lambda part: job.phase(f"export: {part}"),
            _scaled_by(job),
        )
    placement = END2END_PLACEMENTS[recipe.export.weights]
    is_shared = recipe.export.weights == "shared" and bool(BuildName.of(recipe.name).variant)
    digest = {"checkpoint_sha256": pinned[1]} if pinned else {}

    def write(path: Path) -> list[Path]:
        with in_recipe(job.file):
            return save_traced(
                traced.model,
                path,
                placement,
                recipe.partition.cut,
                is_network=recipe.model.source == "mmdet" and bool(recipe.export.batches),
                outside=traced.weights if is_shared else None,
            )

    return Exported(
        write,
        traced.recording,
        {**traced.notes, **digest},
        traced.classes,
    )


def record(job: Job, pinned: Pinned | None) -> Callable[[Arrays], Arrays]:
    """Return a function from the inputs of a job's model, by name, to the arrays at its marks.

    The arrays are keyed by mark reference. Raises ExportError for a model that cannot be built; so
    does the function for one that does not run.
    """
    with in_recipe(job.file):
        subject = load_subject(job.recipe, job.root, pinned[0] if pinned else None, _scaled_by(job))

    def run(inputs: Arrays) -> Arrays:
        # float16 inputs of the exported model are float32 in PyTorch.
        sample = tuple(
            torch.from_numpy(inputs[spec.name]).to(getattr(torch, spec.dtype))
            for spec in subject.inputs
        )
        with in_recipe(job.file), subject.marked(job.recipe.marks) as marking, torch.no_grad():
            run_model(subject, sample)
        return {str(name): as_array(tensor) for name, tensor in marking.tensors.items()}

    return run


def _scaled_by(job: Job) -> Recipe | None:
    return job.file.scaled_by.recipe if job.file.scaled_by else None


def export_recipe(
    recipe: Recipe,
    root: Path,
    checkpoint: Path | None,
    phase: Phase,
    scaled_by: Recipe | None = None,
) -> TracedExport:
    """Export the model of `recipe`; `root` and `scaled_by` are those of `load_subject`.

    Raises ExportError, before the model is traced, for every mistake that the eager model
    reveals: a mark that cannot be set, is never called or finds no tensor.
    """
    return export_model(recipe, lambda: load_subject(recipe, root, checkpoint, scaled_by), phase)


def load_subject(
    recipe: Recipe, root: Path, checkpoint: Path | None, scaled_by: Recipe | None = None
) -> TraceableModel:
    """Return the module that `recipe.model` describes, with its weights.

    `root` is the folder that its relative paths start from. `checkpoint` is the verified file of a
    recipe whose weights are a checkpoint, `scaled_by` the recipe on whose inputs weights from a
    seed are scaled, if that is another variant. Raises ExportError for a model that cannot be
    built or weights that do not fit it.
    """
    source = recipe.model
    if isinstance(source, OnnxModel):
        raise ValueError("an ONNX file is not exported")
    subject = _loaded(recipe, root)
    _check_samples(subject)
    match source.weights:
        case Seed(seed):
            scaled = _loaded(scaled_by, root) if scaled_by else subject
            seed_weights(
                scaled.user_module,
                seed,
                scaled.initialize,
                lambda: run_model(scaled, scaled.typical_input),
            )
            if scaled is not subject:
                subject.user_module.load_state_dict(scaled.user_module.state_dict())
        case Checkpoint() as named:
            part = source.part if isinstance(source, MmdetModel) else ""
            load_state(subject.user_module, named, checkpoint, "model.weights", part)
    return subject


def _loaded(recipe: Recipe, root: Path) -> TraceableModel:
    torch.manual_seed(0)
    module: Any = source_of(recipe)
    subject: TraceableModel = module.load(recipe, recipe.model, root)
    return subject


def _check_samples(subject: TraceableModel) -> None:
    """Reject samples with another shape or dtype than expected: the trace would adopt them."""
    expected = {spec.name: TensorType(spec.dtype, spec.shape) for spec in subject.inputs}
    for sample in (subject.typical_input, *subject.samples):
        actual = {
            name: TensorType(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
            for name, tensor in zip(expected, sample, strict=True)
        }
        problems = list(input_differences(expected, actual, "what is prepared for the model"))
        ExportError.refuse(problems)
