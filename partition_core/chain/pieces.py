"""The pieces of a model as values: segments with their boundaries, and the edges between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partition_core.base.arrays import Arrays

MODEL_INPUT = "end2end input"
MODEL_OUTPUT = "end2end output"


@dataclass(frozen=True)
class Tensor:
    """A tensor at a boundary: its name, ONNX dtype and dims, where a string is a free size.

    Equal strings in one segment are equal sizes. `reference` is its mark reference.
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

    def takes(self, arrays: Arrays) -> bool:
        """Return whether its inputs in `arrays` have the sizes that it fixes."""
        return all(
            not isinstance(dim, int) or dim == size
            for tensor in self.inputs
            for dim, size in zip(tensor.dims, arrays[tensor.name].shape, strict=True)
        )


@dataclass(frozen=True)
class Edge:
    """A connection: the output `output` of `producer` is the input `input` of `consumer`.

    `producer` is the save_file of an earlier segment, `MODEL_INPUT`, or empty for a gap: no segment
    produces the tensor. `consumer` is the save_file of a segment, or `MODEL_OUTPUT`.
    """

    producer: str
    output: str
    consumer: str
    input: str
    dtype: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class Chain:
    """The segments of a partition as files, in order, and the edges between them."""

    files: Mapping[str, Path]
    boundaries: Sequence[SegmentBoundary]
    edges: Sequence[Edge]


def boundary_of(plain: Mapping[str, Any]) -> SegmentBoundary:
    """Return the boundary from the output of `dataclasses.asdict`."""
    return SegmentBoundary(
        plain["save_file"],
        tuple(map(_tensor_of, plain["inputs"])),
        tuple(map(_tensor_of, plain["outputs"])),
    )


def edge_of(plain: Mapping[str, Any]) -> Edge:
    """Return the edge from the output of `dataclasses.asdict`."""
    return Edge(**{**plain, "dims": tuple(plain["dims"])})


def _tensor_of(plain: Mapping[str, Any]) -> Tensor:
    return Tensor(plain["name"], plain["dtype"], tuple(plain["dims"]), plain["reference"])
