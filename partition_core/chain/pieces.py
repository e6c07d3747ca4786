"""The pieces of a model as values: segments with their boundaries, and what flows between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL_INPUT = "end2end input"
MODEL_OUTPUT = "end2end output"


@dataclass(frozen=True)
class Tensor:
    """A tensor at a boundary: its name, ONNX dtype and dims, of which texts are free sizes.

    Equal texts of one segment are equal sizes. `reference` is the mark reference it comes from.
    """

    name: str
    dtype: str
    dims: tuple[int | str, ...]
    reference: str = ""


@dataclass(frozen=True)
class SegmentBoundary:
    """The inputs and outputs of the segment in `save_file`, in its order."""

    save_file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Edge:
    """One tensor on its way: the output `output` of `producer` is the input `input` of `consumer`.

    `producer` is the save_file of an earlier segment, `MODEL_INPUT`, or empty: a gap, nothing
    gives the tensor. `consumer` is the save_file of a segment, or `MODEL_OUTPUT`.
    """

    producer: str
    output: str
    consumer: str
    input: str
    dtype: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class Chain:
    """The segments of a partition as files, in their order, and how tensors go between them."""

    files: Mapping[str, Path]
    boundaries: Sequence[SegmentBoundary]
    edges: Sequence[Edge]


def boundary_of(plain: Mapping[str, Any]) -> SegmentBoundary:
    """Return the boundary that `dataclasses.asdict` made `plain` of."""
    return SegmentBoundary(
        plain["save_file"],
        tuple(map(_tensor_of, plain["inputs"])),
        tuple(map(_tensor_of, plain["outputs"])),
    )


def edge_of(plain: Mapping[str, Any]) -> Edge:
    """Return the edge that `dataclasses.asdict` made `plain` of."""
    return Edge(**{**plain, "dims": tuple(plain["dims"])})


def _tensor_of(plain: Mapping[str, Any]) -> Tensor:
    return Tensor(plain["name"], plain["dtype"], tuple(plain["dims"]), plain["reference"])
