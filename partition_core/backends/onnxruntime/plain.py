"""Models in onnxruntime for proofs: without optimizations, limited to the free memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime

from partition_core.backends.backend import MissingOperatorError
from partition_core.backends.onnxruntime.values import run
from partition_core.base.arrays import Array
from partition_core.base.child_process import limited_memory
from partition_core.base.errors import ProofError
from partition_core.base.wording import one_line

if TYPE_CHECKING:
    from partition_core.backends.onnxruntime.backend import Plain

_NO_COPIES = ("session.disable_prepacking", "1")
"""Weights beside a model are mapped and not copied: 2.5 GB of them run within 2 GB of memory."""
_EXTERNAL_DATA = "session.model_external_initializers_file_folder_path"
# Multiplicative hashing: the first number that onnxruntime draws follows the seed, and those of
# runs that are compared must be far apart, so that a coin does not fall the same in all of them.
_GOLDEN, _LARGEST_SEED, _MOST_SEEDS = 2654435761, 0x7FFFFFFF, 16

_NO_KERNEL = re.compile(
    r"Could not find an implementation for (\w+)\((\d+)\) node with name '(.*?)'"
)
_UNKNOWN = (
    re.compile(r"Fatal error: (?P<domain>[^:]*):(?P<name>\w+)\(-?\d+\) is not a registered"),
    re.compile(r"No Op registered for (?P<name>\w+) with domain_version of"),
)
_ALLOW = "write `proof: {unproven: allow}` to prove only what needs none of its results"
_OTHER_DTYPE = (
    "cut it off, mark a tensor of another dtype (a mark becomes an 'Identity') or export an older "
    "opset"
)


class PlainSession:
    """A model in onnxruntime for proving, called with its inputs by name."""

    def __init__(self, model: Path, settings: Plain) -> None:
        self._model = model
        self._settings = settings
        self._runs = 0
        self._options = onnxruntime.SessionOptions()
        self._options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._options.log_severity_level = 4  # its error log repeats the exception
        self._options.add_session_config_entry(*_NO_COPIES)
        if settings.data is not None:
            self._options.add_session_config_entry(_EXTERNAL_DATA, str(settings.data))
        self._session: Any = self._loaded()
        try:
            for value in (*self._session.get_inputs(), *self._session.get_outputs()):
                _ = value.name
        except UnicodeDecodeError as error:
            raise self._refused("cannot be loaded", error) from error

    def __call__(self, inputs: Mapping[str, Array], /) -> dict[str, Array]:
        """Return all outputs by name (`values.run`)."""
        if self._settings.draws and self._runs:
            self._session = None  # keep a large model in memory only once
            self._session = self._loaded()
        self._runs += 1
        try:
            with limited_memory():
                return run(self._session, inputs)
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise self._refused("cannot be run", error) from error

    def _loaded(self) -> Any:
        # The process-wide seed, for operators without a seed of their own.
        number = 1 + self._settings.seed + _MOST_SEEDS * self._runs
        onnxruntime.set_seed(_GOLDEN * number & _LARGEST_SEED)
        try:
            with limited_memory():
                return onnxruntime.InferenceSession(
                    # For a path, onnxruntime looks for external data only in its folder.
                    str(self._model) if self._settings.data is None else self._model.read_bytes(),
                    self._options,
                    providers=["CPUExecutionProvider"],
                    enable_fallback=False,
                )
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise self._refused("cannot be loaded", error) from error

    def _refused(self, what: str, error: Exception) -> ProofError:
        called, reason = self._settings.called, one_line(error, self._model.parent)
        if missing := _NO_KERNEL.search(reason):
            needed = f", which node '{missing[3]}' needs" if missing[3] else ""
            what = f"onnxruntime has no CPU kernel for '{missing[1]}' of opset {missing[2]} with "
            what += "these dtypes"
            refused = MissingOperatorError.at(called, f"{what}{needed}", "", _OTHER_DTYPE)
            refused.op_type, refused.node = missing[1], missing[3]
            return refused
        for pattern in _UNKNOWN:
            if unknown := pattern.search(reason):
                names = {"domain": "", **unknown.groupdict()}
                shown = ".".join(filter(None, (names["domain"], names["name"])))
                what = f"onnxruntime has no operator '{shown}'"
                refused = MissingOperatorError.at(called, what, "", _ALLOW)
                refused.op_type, refused.domain = names["name"], names["domain"]
                return refused
        return ProofError.at(called, f"{what} by onnxruntime", reason)
