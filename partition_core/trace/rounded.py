"""What PyTorch takes and gives in float32, as a model that computes in float16 has it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import onnx_ir as ir
import torch

from partition_core.base.array_sets import ArraySet
from partition_core.base.errors import ExportError, Problem, problem
from partition_core.base.recording import RecordedSample
from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.values import ExportOptions
from partition_core.trace.float16_values import LARGEST
from partition_core.trace.mark_op import is_mark


def rounded(tensor: torch.Tensor, export: ExportOptions) -> torch.Tensor:
    """Return an input of the module with the values that the exported model can be given."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if export.io_dtype(dtype) == dtype:
        return tensor
    return tensor.to(torch.float16).to(tensor.dtype)


def as_exported(samples: Sequence[RecordedSample], model: ir.Model) -> tuple[RecordedSample, ...]:
    """Return `samples` in the dtypes of `model`, without those with a kind that these cannot hold.

    Raises ExportError if they cannot hold another one.
    """
    halves = _halves(model)
    made: list[RecordedSample] = []
    problems: list[Problem] = []
    for number, sample in enumerate(samples):
        exported = RecordedSample(
            _halved(sample.inputs, halves["input"]),
            _halved(sample.marks, halves["mark"]),
            _halved(sample.outputs, halves["output"]),
            kind=sample.kind,
        )
        wrong = list(_too_large(number, sample, exported))
        if wrong and sample.kind:
            continue
        problems += wrong
        made.append(exported)
    if problems:
        raise ExportError(*problems)
    return tuple(made)


def _halved(arrays: ArraySet, names: Collection[str]) -> ArraySet:
    with np.errstate(over="ignore"):  # `_too_large` tells
        return {
            name: array.astype(np.float16) if name in names else array
            for name, array in arrays.items()
        }


def _too_large(number: int, sample: RecordedSample, exported: RecordedSample) -> Iterator[Problem]:
    kinds = (
        ("input", sample.inputs, exported.inputs),
        ("mark", sample.marks, exported.marks),
        ("output", sample.outputs, exported.outputs),
    )
    for kind, arrays, halved in kinds:
        for name, array in arrays.items():
            if halved[name] is array or not (np.isfinite(array) & ~np.isfinite(halved[name])).any():
                continue
            yield problem(
                "export.precision",
                f"{kind} '{name}' has the value {np.abs(array[np.isfinite(array)]).max():.3g} "
                f"in sample {number}",
                f"float16 has none beyond {LARGEST:g}",
                "remove 'precision', or let the model compute smaller values there",
            )


def _halves(model: ir.Model) -> dict[str, set[str]]:
    """Return the names of the inputs, marks and outputs that are float16, by kind."""
    named: dict[str, list[tuple[object, ir.Value]]] = {
        "input": [(value.name, value) for value in model.graph.inputs],
        "mark": [(_reference(node), node.outputs[0]) for node in model.graph if is_mark(node)],
        "output": [(value.name, value) for value in model.graph.outputs],
    }
    return {
        kind: {str(name) for name, value in values if value.dtype == ir.DataType.FLOAT16}
        for kind, values in named.items()
    }


def _reference(mark: ir.Node) -> MarkReference:
    given = mark.attributes
    name = given["name"].as_string()
    return MarkReference(
        given["func"].as_string(),
        "input" if given["type"].as_string() == "input" else "output",
        given["func_id"].as_int(),
        tuple(name.split(".")) if name else (),
    )
