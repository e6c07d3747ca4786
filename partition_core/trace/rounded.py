"""PyTorch's tensors as arrays, and float32 ones rounded for a model that computes in float16."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import onnx_ir as ir
import torch

from partition_core.base.array_sets import ArraySet
from partition_core.base.arrays import Array
from partition_core.base.errors import ExportError, Problem, problem
from partition_core.base.rare_dtypes import RARE_NAMES, named_dtype
from partition_core.base.recording import RecordedSample
from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.values import ExportOptions
from partition_core.trace.float16_values import LARGEST
from partition_core.trace.mark_op import is_mark


def as_array(tensor: torch.Tensor) -> Array:
    """Return the elements of `tensor`, also where numpy lacks their dtype (`rare_dtypes`)."""
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in RARE_NAMES:
        return tensor.numpy()
    rare = named_dtype(name)
    bits = torch.uint16 if rare.bits > 8 else torch.uint8
    return tensor.contiguous().view(bits).numpy().view(rare.numpy())


def rounded(tensor: torch.Tensor, export: ExportOptions) -> torch.Tensor:
    """Return an input of the module, rounded to values that the exported model's input can hold."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if export.io_dtype(dtype) == dtype:
        return tensor
    return tensor.to(torch.float16).to(tensor.dtype)


def as_exported(samples: Sequence[RecordedSample], model: ir.Model) -> tuple[RecordedSample, ...]:
    """Return `samples` in the dtypes of `model`; one with a kind is dropped if float16 overflows.

    Raises ExportError if another sample overflows.
    """
    halves = _halves(model)
    converted: list[RecordedSample] = []
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
        converted.append(exported)
    ExportError.refuse(problems)
    return tuple(converted)


def _halved(arrays: ArraySet, names: Collection[str]) -> ArraySet:
    with np.errstate(over="ignore"):  # `_too_large` reports it
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
                f"float16 values go up to {LARGEST:g}",
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
    attributes = mark.attributes
    name = attributes["name"].as_string()
    return MarkReference(
        attributes["func"].as_string(),
        "input" if attributes["type"].as_string() == "input" else "output",
        attributes["func_id"].as_int(),
        tuple(name.split(".")) if name else (),
    )
