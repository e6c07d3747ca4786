"""A module that a user's factory returns, as what is traced."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from torch import nn

from partition_core.base.errors import ExportError
from partition_core.recipe.values import Recipe, TorchModel
from partition_core.sources.samples import (
    given_inputs,
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
    own = _made(source, place).eval()
    check_followed(own)
    module, specs = as_called(own, recipe.export)
    given = given_inputs(recipe, root)
    samples = samples_of(specs, given)
    ranges = read_ranges(module, specs, typical_sample(specs, given), samples)
    inputs = ranged(specs, ranges)

    def resized(shapes: tuple[tuple[int, ...], ...], number: int) -> Sample:
        sizes = dict(zip((spec.name for spec in specs), shapes, strict=True))
        return resized_sample(module, specs, given, sizes, number)

    return TraceableModel(
        module,
        own,
        (module, "call_by_name"),
        inputs=inputs,
        samples=tuple(in_order(inputs, one.ranged(ranges).arrays()) for one in samples),
        typical_input=in_order(inputs, typical_sample(inputs, given).arrays()),
        initialize=lambda: None,
        is_detector=False,
        resized_sample=resized,
        while_traced=contextlib.nullcontext,
        notes=range_notes(samples, ranges),
    )


def _made(source: TorchModel, place: str) -> nn.Module:
    arguments = {key: json.loads(text) for key, text in source.args}
    factory = imported(source.factory, place, "a torch.nn.Module")
    try:
        module = factory(**arguments)
    except Exception as error:  # so may the factory
        raise factory_error(source.factory, "calling it fails", error, place) from error
    if not isinstance(module, nn.Module):
        raise ExportError.at(
            place,
            f"'{source.factory}' returned a {type(module).__name__}",
            "expected a torch.nn.Module",
        )
    return module
