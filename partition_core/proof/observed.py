"""What is compared: the end2end model with its inner tensors visible, and what PyTorch gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.folders import END2END
from partition_core.graph.file.graph import Model
from partition_core.graph.marks import marks_of
from partition_core.graph.more_outputs import with_outputs
from partition_core.graph.walk import dependents
from partition_core.proof.comparison import Array
from partition_core.proof.random_operators import random_operators

Arrays = Mapping[str, Array]
_CHOOSING = frozenset({"NonMaxSuppression", "NonZero", "TopK"})


@dataclass(frozen=True)
class Eager:
    """What PyTorch gave for one sample: outputs by name, marked tensors by reference.

    `varies` has the largest difference of two runs for those that are not the same in both, by
    `output/<name>` and `mark/<reference>`.
    """

    outputs: Arrays
    marks: Arrays
    varies: Arrays

    def varying(self, kind: str) -> list[str]:
        """Return which outputs, or marks, as `kind` says, are not the same in two runs."""
        start = f"{kind}/"
        return [name.removeprefix(start) for name in self.varies if name.startswith(start)]


def samples_of(reference: Arrays) -> list[tuple[Arrays, Eager]]:
    """Return the inputs of each sample of an export, and what PyTorch gave for them."""
    split: dict[str, dict[str, dict[str, Array]]] = {}
    for key, array in reference.items():
        number, kind, name = key.split("/", 2)
        kinds = split.setdefault(number, {"input": {}, "mark": {}, "output": {}, "varies": {}})
        kinds[kind][name] = array
    return [
        (one["input"], Eager(one["output"], one["mark"], one["varies"])) for one in split.values()
    ]


@dataclass(frozen=True)
class Whole:
    """What the end2end model gave for one sample.

    `plain` are its outputs as it is; `outputs`, `marks` and `suppressions` are from a run that
    gives its marked tensors too, which may change what onnxruntime rounds.
    """

    plain: Arrays
    outputs: Arrays
    marks: Arrays
    suppressions: list[dict[str, int]]


@dataclass(frozen=True)
class Observed:
    """The end2end model with its marked tensors, and what enters and leaves its NMS, visible.

    `marks` maps a mark reference to a value's name; `chosen` are the references to tensors that
    hold rows chosen among candidates; `nms` holds pairs of names: the boxes that a
    NonMaxSuppression node reads and the indices that it gives. `draws` tells that it has random
    operators.
    """

    file: Path
    outputs: tuple[str, ...]
    marks: Mapping[str, str]
    chosen: frozenset[str]
    nms: tuple[tuple[str, str], ...]
    draws: bool

    @classmethod
    def of(cls, file: Path, model: Model) -> Observed:
        """Return what can be seen of the model in `file`, whose graph is `model`."""
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
        return cls(file, outputs, marks, chosen, nms, bool(random_operators(model)))

    def runs(self, samples: Sequence[Arrays], scratch: Path) -> list[Whole]:
        """Run the model on all samples, as it is and then observed; `scratch` is an empty folder.

        One session at a time is in memory.
        """
        extra = dict.fromkeys([*self.marks.values(), *(name for pair in self.nms for name in pair)])
        added = [name for name in extra if name not in self.outputs]
        observed = with_outputs(self.file, added, scratch / "observed.onnx") if added else self.file
        seen = self._run(observed, samples)
        plain = self._run(self.file, samples) if added else seen
        return [
            Whole(
                plain={name: untouched[name] for name in self.outputs},
                outputs={name: given[name] for name in self.outputs},
                marks={reference: given[name] for reference, name in self.marks.items()},
                suppressions=[
                    {"candidates": int(given[boxes].shape[1]), "kept": len(given[kept])}
                    for boxes, kept in self.nms
                ],
            )
            for untouched, given in zip(plain, seen, strict=True)
        ]

    def _run(self, file: Path, samples: Sequence[Arrays]) -> list[dict[str, Array]]:
        run = Plain(END2END, draws=self.draws).load(file)
        return [run(inputs) for inputs in samples]
