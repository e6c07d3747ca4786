"""The door to onnxruntime: models run without optimizations, with any inner tensor as an output."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from partition_core.backends.onnxruntime.values import run
from partition_core.base.apart import limited_memory
from partition_core.base.disk_errors import writing
from partition_core.base.errors import ProofError, problem

_EXTERNAL_DATA = "session.model_external_initializers_file_folder_path"
SEEDS = (0, 1, 2, 3)
"""What runs are repeated with."""
# Multiplicative hashing: the first number that onnxruntime draws follows the seed, and those of
# runs that are compared must lie far apart, so that a coin does not fall alike in all of them.
_GOLDEN, _LARGEST_SEED, _MOST_SEEDS = 2654435761, 0x7FFFFFFF, 16

_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(\d+\) node with name '(.*?)'")
_OTHER_DTYPE = "cut it off, or mark a tensor of another dtype ('Identity' is what a mark becomes)"

Array = np.ndarray[Any, Any]


class Session:
    """A model loaded for proving: graph optimizations off, on the CPU, tensors by name.

    `model` is a file or the bytes of one; then `folder` is where its external data is. A model
    that `draws` random numbers goes on drawing from run to run: each of its runs is the first of
    a new session, with a seed of its own that `seed` and the number of the run decide.
    """

    def __init__(
        self,
        model: Path | bytes,
        called: str,
        folder: Path | None = None,
        *,
        draws: bool = False,
        seed: int = 0,
    ) -> None:
        self._model = model if isinstance(model, bytes) else str(model)
        self._called = called
        self._draws = draws
        self._seed = seed
        self._runs = 0
        self._options = onnxruntime.SessionOptions()
        self._options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._options.log_severity_level = 4  # what it logs of an error is in the exception
        if folder is not None:
            self._options.add_session_config_entry(_EXTERNAL_DATA, str(folder))
        self._session: Any = self._loaded()
        try:
            self.inputs = [value.name for value in self._session.get_inputs()]
            self.outputs = [value.name for value in self._session.get_outputs()]
        except UnicodeDecodeError as error:
            raise self._refused("cannot be loaded", error) from error

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return all outputs by name (`values.run`)."""
        if self._draws and self._runs:
            self._session = None  # a large model is in memory once
            self._session = self._loaded()
        self._runs += 1
        try:
            with limited_memory():
                return run(self._session, inputs)
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise self._refused("cannot be run", error) from error

    def _loaded(self) -> Any:
        # The seed of the process, from which operators without one of their own draw.
        number = 1 + self._seed + _MOST_SEEDS * self._runs
        onnxruntime.set_seed(_GOLDEN * number & _LARGEST_SEED)
        try:
            with limited_memory():
                return onnxruntime.InferenceSession(
                    self._model,
                    self._options,
                    providers=["CPUExecutionProvider"],
                    enable_fallback=False,
                )
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise self._refused("cannot be loaded", error) from error

    def _refused(self, what: str, error: Exception) -> ProofError:
        reason = reason_of(error, None if isinstance(self._model, bytes) else Path(self._model))
        if lacking := _NO_KERNEL.search(reason):
            named = f", which node '{lacking[2]}' needs" if lacking[2] else ""
            what = f"onnxruntime has no kernel for the CPU of '{lacking[1]}' in one of its dtypes"
            return ProofError(problem(self._called, f"{what}{named}", "", _OTHER_DTYPE))
        return ProofError(problem(self._called, f"{what} by onnxruntime", reason))


def reason_of(error: object, model: Path | None) -> str:
    """Return what onnxruntime says on one line, without the folder of `model`.

    That is one of the store's, in which nothing is left when somebody reads of it.
    """
    text = " ".join(str(error).split())
    return text if model is None else text.replace(f"{model.parent}{os.sep}", "")


def with_outputs(model: Path, names: Iterable[str], target: Path) -> Path:
    """Write a copy of `model` to `target` whose inner tensors `names` are outputs as well.

    The weights are copied as they lie in the file: a protobuf message may be written in pieces
    (Protocol Buffers, "Encoding": last one wins, and repeated fields are joined).
    """
    extra = onnx.ModelProto()
    extra.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    with writing(target):
        shutil.copyfile(model, target)
        with target.open("ab") as stream:
            stream.write(extra.SerializeToString())
    return target
