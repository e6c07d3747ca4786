"""Loads a segment's file as a callable, in onnxruntime with the user's settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime

from partition_core.backends.onnxruntime.values import run
from partition_core.base.arrays import Array
from partition_core.base.errors import Place, RunError, one_of, suggestion
from partition_core.base.wording import one_line

if TYPE_CHECKING:
    from partition_core.backends.onnxruntime.backend import OnnxRuntime


_ERRORS_ONLY = 3
_KERNEL_TIME = "_kernel_time"


def loaded(model: Path, settings: OnnxRuntime) -> Session:
    """Return the loaded model; raises RunError if it or a setting is not supported."""
    available = onnxruntime.get_available_providers()
    names = [spec if isinstance(spec, str) else spec[0] for spec in settings.providers]
    for name in names:
        if name not in available:
            # onnxruntime itself would warn and fall back to the CPU.
            raise RunError.at(
                f"execution provider '{name}'",
                "this onnxruntime does not have it",
                one_of(available),
                suggestion(name, available),
            )
    options = _session_options(model.name, settings)
    try:
        session = onnxruntime.InferenceSession(
            str(model), options, providers=list(settings.providers)
        )
    except Exception as error:  # onnxruntime's exceptions have no common class
        raise RunError.at(
            Place(str(model)), "onnxruntime cannot load it", one_line(error)
        ) from error
    return Session(session)


def without_arena(settings: OnnxRuntime) -> Any:
    """Return the session options, with which each tensor is freed after its last read."""
    options = _session_options("", settings)
    options.enable_cpu_mem_arena = False
    return options


def _session_options(name: str, settings: OnnxRuntime) -> Any:
    if settings.options is not None:
        if not settings.optimize or settings.profile is not None:
            raise RunError.at(
                "OnnxRuntime",
                "`options` is set together with `optimize` or `profile`",
                "expected only one of the two",
                "set graph_optimization_level and enable_profiling in `options`",
            )
        return settings.options
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if not settings.optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if settings.profile is not None:
        Path(settings.profile).mkdir(parents=True, exist_ok=True)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(settings.profile) / name)
    return options


class Session:
    """A model in onnxruntime, called with its inputs by name."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @property
    def providers(self) -> list[str]:
        """The execution providers that it runs on."""
        return list(self._session.get_providers())

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return all outputs by name; raises RunError with onnxruntime's reason."""
        try:
            return run(self._session, inputs)
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise RunError.at(
                "onnxruntime", "it cannot run the segment", one_line(error)
            ) from error

    def end_profiling(self) -> Path | None:
        """End a profile and return its file; None without profiling."""
        if not self._session.get_session_options().enable_profiling:
            return None
        return Path(self._session.end_profiling())

    def node_seconds(self) -> dict[str, list[float]]:
        """End a profile and return the seconds of each node in each run, by the node's name."""
        seconds: dict[str, list[float]] = {}
        for event in json.loads(Path(self._session.end_profiling()).read_bytes()):
            name = str(event.get("name", ""))
            if event.get("cat") == "Node" and name.endswith(_KERNEL_TIME):
                seconds.setdefault(name.removesuffix(_KERNEL_TIME), []).append(event["dur"] / 1e6)
        return seconds
