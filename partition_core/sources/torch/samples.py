"""The samples of a torch model: arrays as tensors, with the ranges that its tables tell."""

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
    """Return `arrays` as tensors of their own, in the order of `specs`."""
    return tuple(torch.from_numpy(arrays[spec.name].copy()) for spec in specs)


def read_ranges(
    module: nn.Module, specs: Sequence[TensorSpec], typical: Sample, samples: Sequence[Sample]
) -> Ranges:
    """Return the ranges of those inputs of which nothing is said and that index tables.

    `module` is run on `typical` to see them, and then on `typical` and `samples` with them: a
    range with which it fails is left out.
    """
    names = undetermined([typical, *samples])
    ranges: Ranges = {}
    for _ in names:
        tensors = in_order(specs, typical.ranged(ranges).arrays())
        inputs = dict(zip((spec.name for spec in specs), tensors, strict=True))
        noted, is_whole = index_ranges(module, inputs)
        former, ranges = ranges, {name: span for name, span in noted.items() if name in names}
        # A run that fails for an index beyond a table has told the size of that table.
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
    given: Sequence[Arrays],
    shapes: Mapping[str, tuple[int, ...]],
    number: int,
) -> Tensors:
    """Return sample `number` of those of other `shapes`, by name.

    Arrays that files give are cut or repeated. The tables that an input indexes may have other
    sizes now, so `specs` have the ranges that the recipe says and no others.
    """
    sized = [dataclasses.replace(spec, shape=shapes[spec.name]) for spec in specs]
    fitting = [{name: fitted(one, shapes[name]) for name, one in file.items()} for file in given]
    samples = samples_of(sized, fitting)
    chosen = samples[number % len(samples)]
    sample = dataclasses.replace(chosen, key=len(samples) + number + 1)
    ranges = read_ranges(module, sized, typical_sample(sized, fitting), [sample])
    return in_order(sized, sample.ranged(ranges).arrays())
