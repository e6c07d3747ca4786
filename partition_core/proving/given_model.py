"""What an ONNX file computes, as it was given: the reference for what is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from partition_core.cutting.external import locations
from partition_core.cutting.mark_nodes import mark_definitions
from partition_core.cutting.onnx_file.graph import Model
from partition_core.errors import ProofError, problem
from partition_core.proving.samples import Array, Arrays
from partition_core.proving.sessions import Session, with_outputs


def reference_of(
    source: Path,
    model: Model,
    marks: Mapping[str, str],
    samples: Sequence[Arrays],
    scratch: Path,
) -> Arrays:
    """Return what the file `source`, whose graph is `model`, gives for `samples`.

    For sample k, the inputs as `k/input/<name>`, the tensors that `marks` maps references to as
    `k/mark/<reference>` and the outputs as `k/output/<name>`. The bytes of the file are run as
    they are; joined to them are the names of marked tensors as outputs, and a function for Mark
    nodes that lack one. `scratch` is an empty folder. Raises ProofError if onnxruntime cannot run
    it.
    """
    outputs = [value.name for value in model.graph.outputs]
    inner = {value.name for node in model.graph for value in node.outputs}
    wanted = {name: tensor for name, tensor in marks.items() if tensor in inner}
    added = [name for name in dict.fromkeys(wanted.values()) if name not in outputs]
    session = _session(source, model, added, scratch)
    reference: Arrays = {}
    for index, sample in enumerate(samples):
        given = session.run(sample)
        kinds = {
            "input": sample,
            "mark": {name: given[tensor] for name, tensor in wanted.items()},
            "output": {name: given[name] for name in outputs},
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
