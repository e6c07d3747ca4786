"""Exports a model again with marks on its modules, to compare these with PyTorch."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from partition_core.base.errors import BuildError, ExportError
from partition_core.base.folders import END2END
from partition_core.base.progress import ticking
from partition_core.build.step import StepJob, models_on_disk
from partition_core.build.steps.export import packages_of
from partition_core.graph.file.graph_reader import read_model
from partition_core.proof.diagnosis.modules import (
    Children,
    ModuleRow,
    children_of,
    first_wrong_module,
    module_lines,
    module_rows,
)
from partition_core.proof.diagnosis.wording import figure_lines
from partition_core.proof.reasons import half_dtype
from partition_core.recipe.values import Mark
from partition_core.sources.fetching import pinned_file
from partition_core.sources.source import Exported, source_of

_WRAPPERS = {"mmdet": "detector"}
"""What a source calls the model of a recipe inside of what it exports."""
_OF_MARK = re.compile(r"marks\[(\d+)\]")


def diagnose_modules(job: StepJob) -> Iterator[str]:
    """Yield which module end2end computes otherwise than PyTorch, the tensor first.

    Raises BuildError for a model that is an ONNX file, PartitionError for one that cannot be
    exported with the marks.
    """
    if not job.recipe.model.is_traced:
        what = "the model is an ONNX file, which has no modules"
        raise BuildError.at("against=pytorch", what, "expected a model of PyTorch")
    with models_on_disk(job, [END2END]) as (models, scratch):
        model = read_model(models[END2END])
        wrapper = _WRAPPERS.get(job.recipe.model.source, "")
        children = children_of(model, wrapper)
        tolerance = job.recipe.proof.tolerance_for(half_dtype(model))

        def compare(modules: Sequence[str]) -> Sequence[ModuleRow]:
            return _compared(job, modules, children, tolerance, scratch)

        with ticking(f"{job.recipe.name}: diagnose the modules"):
            path = first_wrong_module(children, compare)
        if not any(path.levels):
            what = "none of its modules has a tensor that can be compared"
            raise BuildError.at("against=pytorch", what, "expected modules that give tensors")
        yield from module_lines(path, children, model, wrapper)
        yield f"allowed is a difference of {tolerance:g} of a tensor's largest value"
        rows = [row for level in path.levels for row in level]
        yield from figure_lines([(row.tensor, row.called, row.figures) for row in rows], "module")


def _compared(
    job: StepJob, modules: Sequence[str], children: Children, tolerance: float, scratch: Path
) -> Sequence[ModuleRow]:
    """Export with marks on modules, and return their tensors.

    A module that is never called, as a list of modules, or returns no tensor stands for those in
    it.
    """
    while modules:
        try:
            exported = _exported(job, modules)
            break
        except ExportError as error:
            unfit = {
                int(match[1]) for p in error.problems if (match := _OF_MARK.match(p.place.path))
            }
            if not unfit:
                raise
            modules = [
                each
                for number, module in enumerate(modules)
                for each in (children.get(module, ()) if number in unfit else (module,))
            ]
    else:
        return ()
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        file = Path(folder) / END2END
        exported.write(file)
        named = {_name(number): module for number, module in enumerate(modules)}
        return module_rows(file, exported.recording, named, tolerance, Path(folder))


def _exported(job: StepJob, modules: Sequence[str]) -> Exported:
    marks = tuple(Mark(_name(i), None, module, (), None) for i, module in enumerate(modules))
    recipe = dataclasses.replace(job.recipe, marks=marks)
    file = dataclasses.replace(job.file, recipe=recipe)
    quiet = dataclasses.replace(job, file=file, say=_say_nothing)
    with packages_of(job):
        return source_of(recipe).export(quiet, pinned_file(job))


def _name(number: int) -> str:
    return f"module_{number}"


def _say_nothing(_: str) -> None:
    """The first line is what was found."""
