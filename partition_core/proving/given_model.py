"""What an ONNX file computes, as it was given: the reference for what is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from partition_core.cutting.external import locations
from partition_core.cutting.mark_nodes import mark_definitions
from partition_core.cutting.model_inputs import inputs_of
from partition_core.cutting.onnx_file.graph import Model
from partition_core.errors import ProofError, problem
from partition_core.proving.sessions import Session, with_outputs
from partition_core.sample_inputs import Array, Arrays


class GivenModel:
    """The file `source`, whose graph is `model`, loaded to run as it is.

    Its bytes are run as they are; joined to them are the names of the tensors that `marks` maps
    references to, as outputs, and a function for Mark nodes that lack one. `scratch` is an empty
    folder. Raises ProofError if onnxruntime cannot load it.
    """

    def __init__(self, source: Path, model: Model, marks: Mapping[str, str], scratch: Path) -> None:
        self._inputs = list(inputs_of(model))
        self._outputs = [value.name for value in model.graph.outputs]
        inner = {value.name for node in model.graph for value in node.outputs}
        self._marks = {name: tensor for name, tensor in marks.items() if tensor in inner}
        added = [n for n in dict.fromkeys(self._marks.values()) if n not in self._outputs]
        self._session = _session(source, model, added, scratch)

    def runs(self, sample: Arrays) -> bool:
        """Return whether onnxruntime runs the file on `sample`."""
        try:
            self._session.run(sample)
        except ProofError:
            return False
        return True

    def reference(self, samples: Sequence[Arrays]) -> dict[str, Array]:
        """Return what the file gives for `samples`; raises ProofError if it does not run on one.

        For sample k, the inputs as `k/input/<name>`, the marked tensors as `k/mark/<reference>`
        and the outputs as `k/output/<name>`.
        """
        reference: dict[str, Array] = {}
        for index, sample in enumerate(samples):
            given = self._session.run(sample)
            kinds = {
                "input": {name: sample[name] for name in self._inputs},
                "mark": {name: given[tensor] for name, tensor in self._marks.items()},
                "output": {name: given[name] for name in self._outputs},
            }
            for kind, arrays in kinds.items():
                for name, array in arrays.items():
                    if kind != "mark" or _is_numeric(array):
                        reference[f"{index}/{kind}/{name}"] = _comparable(array, f"{kind} '{name}'")
        return reference


def _session(source: Path, model: Model, added: Sequence[str], scratch: Path) -> Session:
    file = with_outputs(source, added, scratch / "given.onnx")
    with file.open("ab") as stream:
        stream.write(mark_definitions(model))
    if not locations(model):
        return Session(file, source.name)
    # onnxruntime looks for external data beside a file, and for that of bytes where it is told to.
    return Session(file.read_bytes(), source.name, source.parent)


def _is_numeric(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "fiub"


def _comparable(array: Array, where: str) -> Array:
    if _is_numeric(array):
        return array
    raise ProofError(
        problem(
            where,
            "it is no tensor of numbers, and only those can be compared",
            "expected a tensor of floats, integers or booleans",
            "cut a part of the model that has such outputs into a file of its own",
        )
    )
