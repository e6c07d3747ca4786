"""What a converter must know of a segment: its tensors at both ends, and that it holds no Mark."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.base.errors import ConversionError, CutError, Problem, one_of, problem
from partition_core.base.wording import counted
from partition_core.graph.file.graph import Graph, Model, Value
from partition_core.graph.file.graph_reader import read_model
from partition_core.graph.file.value_type import Dim, ValueType, type_of
from partition_core.graph.marks import is_mark
from partition_core.graph.walk import all_nodes

_TYPED = "a segment that a recipe cuts has it; `doit tensors` lists the types"


@dataclass(frozen=True)
class Port:
    """A tensor at an end of a segment, with ONNX's name, dtype and dims."""

    name: str
    dtype: str
    dims: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if dim is None else str(dim) for dim in self.dims)}]"

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The dims if all of them are sizes."""
        sizes = tuple(dim for dim in self.dims if isinstance(dim, int))
        return sizes if len(sizes) == len(self.dims) else None


Ends = tuple[tuple[Port, ...], tuple[Port, ...]]
"""The inputs and the outputs of a segment."""


@dataclass(frozen=True)
class SegmentFile:
    """An ONNX file to convert, as a model and its ends."""

    file: Path
    model: Model
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def where(self) -> str:
        """The segment, for messages."""
        return f"segment '{self.file.name}'"

    @property
    def ends(self) -> Ends:
        """Its inputs and its outputs."""
        return self.inputs, self.outputs

    def problem(self, what: str, expected: str = "", remedy: str = "") -> Problem:
        """Return a problem of this segment."""
        return problem(self.where, what, expected, remedy)

    def refuse_dtypes(self, name: str, known: Collection[str]) -> None:
        """Raise ConversionError for each tensor at an end whose dtype is not one of `known`."""
        ConversionError.refuse(
            self.problem(f"its {side} '{port.name}' is {port}", f"{one_of(known)} for {name}")
            for side, ports in zip(("input", "output"), self.ends, strict=True)
            for port in ports
            if port.dtype not in known
        )


def read_segment(file: Path) -> SegmentFile:
    """Return the segment in a file; raises ConversionError for a Mark, or an end without type."""
    where = f"segment '{file.name}'"
    try:
        model = read_model(file)
    except CutError as error:
        raise ConversionError(*error.problems) from error
    graph = model.graph
    inputs = [value for value in graph.inputs if value.tensor is None]
    ends = [
        *(("input", value, value.type) for value in inputs),
        *(
            ("output", value, type_of(info))
            for value, info in zip(graph.outputs, graph.output_infos, strict=True)
        ),
    ]
    ConversionError.refuse(_problems(where, graph, ends))
    ports = [_port(value, kind) for _, value, kind in ends if kind is not None]
    return SegmentFile(file, model, tuple(ports[: len(inputs)]), tuple(ports[len(inputs) :]))


def _port(value: Value, kind: ValueType) -> Port:
    return Port(value.name, kind.text, kind.dims or ())


def _problems(
    where: str, graph: Graph, ends: Sequence[tuple[str, Value, ValueType | None]]
) -> Iterator[Problem]:
    marks = [node for node in all_nodes(graph) if is_mark(node)]
    if marks:
        what = f"it holds {counted(len(marks), 'Mark node')}, the first with the output "
        what += f"'{marks[0].outputs[0].name}'"
        yield problem(where, what, "expected a segment, which has none", "cut it out of its model")
    for side, value, kind in ends:
        if kind is None or not kind.dtype:
            is_a = f"is a {kind.text}" if kind else "has no type"
            yield problem(where, f"its {side} '{value.name}' {is_a}", "expected a tensor")
        elif kind.dims is None:
            yield problem(where, f"its {side} '{value.name}' has no rank", "", _TYPED)
