"""The export step: a recipe becomes `end2end.onnx` and the eager results it must reproduce."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from partition_core.errors import ExportError, problem
from partition_core.export.placing import PlaceOf, placed
from partition_core.export.sources import Subject, load_subject, run_model
from partition_core.export.to_onnx import trace, translate
from partition_core.recipe import Recipe
from partition_core.structure import tensors

Phase = Callable[[str], AbstractContextManager[None]]
"""Announces a part of the work that takes long, and afterwards how long it took."""

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Export:
    """What an export gives.

    `model` is the end2end model. `reference` holds, for sample k, the inputs as
    `k/input/<name>`, what eager PyTorch saw at each mark as `k/mark/<reference>` and its
    outputs as `k/output/<name>`. `notes` is plain data for the manifest.
    """

    model: ir.Model
    reference: Arrays
    notes: dict[str, Any]


def export_recipe(
    recipe: Recipe, root: Path, place_of: PlaceOf, checkpoint: Path | None, phase: Phase
) -> Export:
    """Export the model of `recipe`; `root` is the folder that its relative paths start from.

    Raises ExportError, before the model is traced, for every mistake that the eager model
    shows: a mark that cannot be placed, is never called or finds no tensor.
    """
    with phase("build the model"):
        subject = load_subject(recipe, root, place_of, checkpoint)
    with phase("run it in PyTorch"):
        reference, names = _eager(recipe, subject, place_of)
    with phase("trace it"), placed(recipe.marks, subject.module, place_of, traced=True):
        program, decisions = trace(
            subject.module,
            subject.samples[0],
            _dynamic_axes(recipe, subject),
            subject.rules(),
            place_of,
        )
    with phase("translate it to ONNX"):
        graph_name = "".join(c if c.isalnum() else "_" for c in recipe.name)
        inputs = [spec.name for spec in subject.inputs]
        model = translate(program, recipe.export, inputs, names, graph_name, place_of)
    notes = {
        "detects": subject.detects,
        "decisions": [asdict(decision) for decision in sorted(decisions)],
        **subject.notes,
    }
    return Export(model, reference, notes)


def _dynamic_axes(recipe: Recipe, subject: Subject) -> tuple[dict[int, Any], ...]:
    return tuple(
        {
            axis.axis: torch.export.Dim.AUTO
            for axis in recipe.export.dynamic_axes
            if axis.tensor == spec.name
        }
        for spec in subject.inputs
    )


def _eager(recipe: Recipe, subject: Subject, place_of: PlaceOf) -> tuple[Arrays, list[str]]:
    reference: Arrays = {}
    names: list[str] = []
    for index, sample in enumerate(subject.samples):
        with placed(recipe.marks, subject.module, place_of) as placement, torch.no_grad():
            result = run_model(subject, sample, place_of)
            placement.check_all_called(recipe.marks)
        outputs = _named_outputs(recipe, result, place_of)
        names = list(outputs)
        for spec, tensor in zip(subject.inputs, sample, strict=True):
            reference[f"{index}/input/{spec.name}"] = tensor.numpy()
        for reference_name, tensor in placement.tensors.items():
            reference[f"{index}/mark/{reference_name}"] = tensor.detach().numpy()
        for name, tensor in outputs.items():
            reference[f"{index}/output/{name}"] = tensor.detach().numpy()
    return reference, names


def _named_outputs(recipe: Recipe, result: Any, place_of: PlaceOf) -> dict[str, torch.Tensor]:
    found = list(tensors(result, lambda value: isinstance(value, torch.Tensor)))
    names = [".".join(path if isinstance(result, dict) else ("output", *path)) for path, _ in found]
    if not names:
        raise ExportError(
            problem(
                place_of("model"),
                f"the model returns no tensor, but a {type(result).__name__}",
                "expected a tensor, or a list, tuple or dict of tensors",
            )
        )
    given = recipe.export.output_names
    if given and len(given) != len(names):
        raise ExportError(
            problem(
                place_of("export.output_names"),
                f"names {len(given)} outputs, and the model returns {len(names)}",
                f"the model returns {', '.join(names)}",
            )
        )
    chosen = given or tuple(names)
    inputs = [spec.name for spec in recipe.export.inputs]
    taken = [name for name, times in Counter([*inputs, *chosen]).items() if times > 1]
    if taken:
        raise ExportError(
            problem(
                place_of("export.output_names"),
                f"two inputs or outputs of the model are called '{taken[0]}'",
                f"the inputs are {', '.join(inputs)}, the outputs {', '.join(chosen)}",
                "give the outputs other names in 'export.output_names'",
            )
        )
    return dict(zip(chosen, (tensor for _, tensor in found), strict=True))
