"""A module from a user's factory as a traceable model."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from partition_core.base.arrays import Arrays
from partition_core.base.errors import ExportError
from partition_core.base.index_ranges import Ranges
from partition_core.recipe.values import Recipe, TensorSpec, TorchModel
from partition_core.sources.samples import Sample as Drawn
from partition_core.sources.samples import (
    fitted,
    inputs_from_files,
    range_notes,
    ranged,
    samples_of,
    typical_sample,
    undetermined,
    usable_ranges,
)
from partition_core.sources.torch.index_reads import index_ranges
from partition_core.sources.traced import export, record
from partition_core.trace.callables import factory_error, imported
from partition_core.trace.calling import as_called
from partition_core.trace.refusals import check_followed
from partition_core.trace.traceable_model import Sample, TraceableModel

__all__ = ["export", "load", "record"]


def load(recipe: Recipe, source: TorchModel, root: Path) -> TraceableModel:
    """Return the module that the model `source` of `recipe` describes; raises ExportError."""
    place = "model.factory"
    user_module = _user_module(source, place).eval()
    check_followed(user_module)
    module, specs = as_called(user_module, recipe.export)
    files = inputs_from_files(recipe, root)
    samples = samples_of(specs, files)
    ranges = read_ranges(module, specs, typical_sample(specs, files), samples)
    inputs = ranged(specs, ranges)

    def resized(shapes: tuple[tuple[int, ...], ...], number: int) -> Sample:
        sizes = dict(zip((spec.name for spec in specs), shapes, strict=True))
        return _resized_sample(module, specs, files, sizes, number)

    return TraceableModel(
        module,
        user_module,
        (module, "call_by_name"),
        inputs=inputs,
        samples=tuple(in_order(inputs, sample.ranged(ranges).arrays()) for sample in samples),
        typical_input=in_order(inputs, typical_sample(inputs, files).arrays()),
        initialize=lambda: None,
        is_detector=False,
        resized_sample=resized,
        while_traced=contextlib.nullcontext,
        notes=range_notes(samples, ranges),
    )


def _user_module(source: TorchModel, place: str) -> nn.Module:
    arguments = {key: json.loads(text) for key, text in source.args}
    factory = imported(source.factory, place, "a torch.nn.Module")
    try:
        module = factory(**arguments)
    except Exception as error:  # a user's factory may raise anything
        raise factory_error(source.factory, "calling it fails", error, place) from error
    if not isinstance(module, nn.Module):
        raise ExportError.at(
            place,
            f"'{source.factory}' returned a {type(module).__name__}",
            "expected a torch.nn.Module",
        )
    return module


def in_order(specs: Sequence[TensorSpec], arrays: Arrays) -> Sample:
    """Return copies of `arrays` as tensors, in the order of `specs`."""
    return tuple(torch.from_numpy(arrays[spec.name].copy()) for spec in specs)


def read_ranges(
    module: nn.Module, specs: Sequence[TensorSpec], typical: Drawn, samples: Sequence[Drawn]
) -> Ranges:
    """Return the ranges of those inputs without a range or value that index tables.

    `module` is run on `typical` to infer them, and then on `typical` and `samples` with them: a
    range with which it fails is left out.
    """
    names = undetermined([typical, *samples])
    ranges: Ranges = {}
    for _ in names:
        tensors = in_order(specs, typical.ranged(ranges).arrays())
        inputs = dict(zip((spec.name for spec in specs), tensors, strict=True))
        noted, is_whole = index_ranges(module, inputs)
        former, ranges = ranges, {name: span for name, span in noted.items() if name in names}
        # A run that fails for an index out of range has revealed the table's size.
        if is_whole or ranges == former:
            break

    def runs(arrays: Arrays) -> bool:
        try:
            with torch.no_grad():
                module(*in_order(specs, arrays))
        except Exception:  # a user's model may raise anything
            return False
        return True

    return usable_ranges(ranges, [typical, *samples], runs)


def _resized_sample(
    module: nn.Module,
    specs: Sequence[TensorSpec],
    files: Sequence[Arrays],
    shapes: Mapping[str, tuple[int, ...]],
    number: int,
) -> Sample:
    """Return sample `number` of those with other `shapes`, by name.

    Arrays from `files` are cropped or repeated. The tables that an input indexes may have other
    sizes now, so `specs` have only the ranges from the recipe.
    """
    sized = [dataclasses.replace(spec, shape=shapes[spec.name]) for spec in specs]
    resized = [
        {name: fitted(array, shapes[name]) for name, array in arrays.items()} for arrays in files
    ]
    samples = samples_of(sized, resized)
    chosen = samples[number % len(samples)]
    sample = dataclasses.replace(chosen, key=len(samples) + number + 1)
    ranges = read_ranges(module, sized, typical_sample(sized, resized), [sample])
    return in_order(sized, sample.ranged(ranges).arrays())
