"""The samples of a torch model: arrays as tensors, with ranges inferred from its tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from partition_core.base.arrays import Arrays
from partition_core.base.index_ranges import Ranges
from partition_core.recipe.values import TensorSpec
from partition_core.sources.samples import (
    Sample,
    fitted,
    samples_of,
    typical_sample,
    undetermined,
    usable_ranges,
)
from partition_core.sources.torch.index_reads import index_ranges

Tensors = tuple[torch.Tensor, ...]


def in_order(specs: Sequence[TensorSpec], arrays: Arrays) -> Tensors:
    """Return copies of `arrays` as tensors, in the order of `specs`."""
    return tuple(torch.from_numpy(arrays[spec.name].copy()) for spec in specs)


def read_ranges(
    module: nn.Module, specs: Sequence[TensorSpec], typical: Sample, samples: Sequence[Sample]
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


def resized_sample(
    module: nn.Module,
    specs: Sequence[TensorSpec],
    files: Sequence[Arrays],
    shapes: Mapping[str, tuple[int, ...]],
    number: int,
) -> Tensors:
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
