"""What PyTorch takes and gives in float32, as a model that computes in float16 has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from partition_core.base.errors import ExportError, PlaceOf, problem
from partition_core.recipe.mark_reference import MarkReference
from partition_core.recipe.values import Export
from partition_core.trace.float16_values import LARGEST
from partition_core.trace.mark_op import is_mark

Arrays = Mapping[str, np.ndarray[Any, Any]]


def rounded(tensor: torch.Tensor, export: Export) -> torch.Tensor:
    """Return an input of the module with the values that the exported model can be given."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if export.io_dtype(dtype) == dtype:
        return tensor
    return tensor.to(torch.float16).to(tensor.dtype)


def as_exported(reference: Arrays, model: ir.Model) -> dict[str, np.ndarray[Any, Any]]:
    """Return the `reference` of an `exporter.Export` in the dtypes of `model`."""
    with np.errstate(over="ignore"):  # `too_large` tells
        halves = _halves(model)
        return {
            key: array.astype(np.float16) if key.partition("/")[2] in halves else array
            for key, array in reference.items()
        }


def too_large(reference: Arrays, exported: Arrays) -> dict[str, float]:
    """Return the largest value of each array that float16 cannot hold, by its key."""
    return {
        key: float(np.abs(array[np.isfinite(array)]).max())
        for key, array in reference.items()
        if exported[key].dtype != array.dtype
        and (np.isfinite(array) & ~np.isfinite(exported[key])).any()
    }


def check_range(wrong: Mapping[str, float], place_of: PlaceOf) -> None:
    """Raise ExportError for tensors of samples that float16 cannot hold (`too_large`)."""
    if wrong:
        raise ExportError(
            *(
                problem(
                    place_of("export.precision"),
                    f"{kind} '{name}' has the value {most:.3g} in sample {number}",
                    f"float16 has none beyond {LARGEST:g}",
                    "remove 'precision', or let the model compute smaller values there",
                )
                for key, most in wrong.items()
                for number, kind, name in (key.split("/", 2),)
            )
        )


def _halves(model: ir.Model) -> set[str]:
    return {name for name, value in _named(model) if value.dtype == ir.DataType.FLOAT16}


def _named(model: ir.Model) -> Iterator[tuple[str, ir.Value]]:
    for kind, values in (("input", model.graph.inputs), ("output", model.graph.outputs)):
        yield from ((f"{kind}/{value.name}", value) for value in values)
    for node in filter(is_mark, model.graph):
        yield f"mark/{_reference(node)}", node.outputs[0]


def _reference(mark: ir.Node) -> MarkReference:
    given = mark.attributes
    name = given["name"].as_string()
    return MarkReference(
        given["func"].as_string(),
        "input" if given["type"].as_string() == "input" else "output",
        given["func_id"].as_int(),
        tuple(name.split(".")) if name else (),
    )
