"""Runs end2end with its inner tensors as additional outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partition_core.backends.onnxruntime.backend import Plain
from partition_core.base.arrays import Array, Arrays
from partition_core.base.folders import END2END
from partition_core.graph.file.graph import Model
from partition_core.graph.marks import marks_of
from partition_core.graph.more_outputs import with_outputs
from partition_core.graph.walk import dependents
from partition_core.proof.random_operators import random_operators

_CHOOSING = frozenset({"NonMaxSuppression", "NonZero", "TopK"})


@dataclass(frozen=True)
class Whole:
    """The results of the end2end model for one sample.

    `plain` are the outputs of the unchanged model; `outputs`, `marks` and `suppressions` are from a
    run with its marked tensors as outputs, which may change how onnxruntime rounds.
    """

    plain: Arrays
    outputs: Arrays
    marks: Arrays
    suppressions: list[dict[str, int]]


@dataclass(frozen=True)
class Observed:
    """The end2end model with its marked tensors, and the inputs and outputs of its NMS, as outputs.

    `marks` maps a mark reference to a value's name; `chosen` are the references to tensors
    whose rows are chosen among candidates; `nms` has pairs of names: the boxes that a
    NonMaxSuppression node reads and the indices that it outputs. `draws` is whether the model has
    random operators.
    """

    file: Path
    outputs: tuple[str, ...]
    marks: Mapping[str, str]
    chosen: frozenset[str]
    nms: tuple[tuple[str, str], ...]
    draws: bool

    @classmethod
    def of(cls, file: Path, model: Model) -> Observed:
        """Return the observable tensors of the model in `file`, whose graph is `model`."""
        tensors = [tensor for tensor in marks_of(model).tensors if not tensor.enclosing]
        marks = {str(tensor): tensor.marked_value.name for tensor in tensors}
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
        """Run the model on all samples, unchanged and observed; `scratch` is an empty folder.

        One session at a time is in memory.
        """
        extra = dict.fromkeys([*self.marks.values(), *(name for pair in self.nms for name in pair)])
        added = [name for name in extra if name not in self.outputs]
        observed = with_outputs(self.file, added, scratch / "observed.onnx") if added else self.file
        observations = self._run(observed, samples)
        plain = self._run(self.file, samples) if added else observations
        return [
            Whole(
                plain={name: unchanged[name] for name in self.outputs},
                outputs={name: observation[name] for name in self.outputs},
                marks={reference: observation[name] for reference, name in self.marks.items()},
                suppressions=[
                    {"candidates": int(observation[boxes].shape[1]), "kept": len(observation[kept])}
                    for boxes, kept in self.nms
                ],
            )
            for unchanged, observation in zip(plain, observations, strict=True)
        ]

    def _run(self, file: Path, samples: Sequence[Arrays]) -> list[dict[str, Array]]:
        run = Plain(END2END, draws=self.draws).load(file)
        return [run(inputs) for inputs in samples]
