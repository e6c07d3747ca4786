"""A module from a user's factory as a traceable model."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from torch import nn

from partition_core.base.errors import ExportError
from partition_core.recipe.values import Recipe, TorchModel
from partition_core.sources.samples import (
    inputs_from_files,
    range_notes,
    ranged,
    samples_of,
    typical_sample,
)
from partition_core.sources.torch.samples import in_order, read_ranges, resized_sample
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
        return resized_sample(module, specs, files, sizes, number)

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
