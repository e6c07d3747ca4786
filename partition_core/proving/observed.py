"""What is compared: the end2end model with its inner tensors visible, and what PyTorch gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from partition_core.cutting.graph_marks import marks_of
from partition_core.cutting.graph_walk import dependents
from partition_core.cutting.onnx_file.graph import Model
from partition_core.proving.comparison import Array
from partition_core.proving.sessions import Session, with_outputs

Arrays = Mapping[str, Array]
END2END = "end2end.onnx"
_CHOOSING = frozenset({"NonMaxSuppression", "NonZero", "TopK"})


@dataclass(frozen=True)
class Eager:
    """What PyTorch gave for one sample: outputs by name, marked tensors by reference."""

    outputs: Arrays
    marks: Arrays


def samples_of(reference: Arrays) -> list[tuple[Arrays, Eager]]:
    """Return the inputs of each sample of an export, and what PyTorch gave for them."""
    split: dict[str, dict[str, dict[str, Array]]] = {}
    for key, array in reference.items():
        number, kind, name = key.split("/", 2)
        kinds = split.setdefault(number, {"input": {}, "mark": {}, "output": {}})
        kinds[kind][name] = array
    return [(one["input"], Eager(one["output"], one["mark"])) for one in split.values()]


@dataclass(frozen=True)
class Whole:
    """What the end2end model gave for one sample."""

    outputs: Arrays
    marks: Arrays
    suppressions: list[dict[str, int]]


@dataclass(frozen=True)
class Observed:
    """The end2end model with its marked tensors, and what enters and leaves its NMS, visible.

    `marks` maps a mark reference to a value's name; `chosen` are the references to tensors that
    hold rows chosen among candidates; `nms` holds pairs of names: the boxes that a
    NonMaxSuppression node reads and the indices that it gives.
    """

    session: Session
    outputs: tuple[str, ...]
    marks: Mapping[str, str]
    chosen: frozenset[str]
    nms: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, file: Path, model: Model, scratch: Path) -> Observed:
        """Load the model in `file`, whose graph is `model`, with the extra outputs."""
        tensors = [tensor for tensor in marks_of(model).tensors if not tensor.enclosing]
        marks = {str(tensor): tensor.seen.name for tensor in tensors}
        choices = [v for node in model.graph if node.op_type in _CHOOSING for v in node.outputs]
        behind = dependents(model.graph, choices)
        chosen = frozenset(str(tensor) for tensor in tensors if tensor.value in behind)
        nms = tuple(
            (str(node.inputs[0].name), str(node.outputs[0].name))
            for node in model.graph
            if node.op_type == "NonMaxSuppression" and node.inputs[0] is not None
        )
        outputs = tuple(str(value.name) for value in model.graph.outputs)
        extra = dict.fromkeys([*marks.values(), *(name for pair in nms for name in pair)])
        added = [name for name in extra if name not in outputs]
        observed = with_outputs(file, added, scratch / "observed.onnx")
        return cls(Session(observed, END2END), outputs, marks, chosen, nms)

    def run(self, inputs: Arrays) -> Whole:
        """Run the model on one sample."""
        given = self.session.run(inputs)
        return Whole(
            outputs={name: given[name] for name in self.outputs},
            marks={reference: given[name] for reference, name in self.marks.items()},
            suppressions=[
                {"candidates": int(given[boxes].shape[1]), "kept": len(given[kept])}
                for boxes, kept in self.nms
            ],
        )
