"""The door to onnxruntime for who runs a build: a segment's file becomes a callable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from partition_core.backends.onnxruntime.values import run
from partition_core.base.errors import Place, RunError, one_of, problem, suggestion

Array = np.ndarray[Any, Any]
Provider = str | tuple[str, Mapping[str, Any]]

_ERRORS_ONLY = 3


@dataclass(frozen=True)
class OnnxRuntime:
    """How onnxruntime runs a segment.

    `providers` are execution providers in the order of preference, each a name or a name with its
    options. `options` is an `onnxruntime.SessionOptions`; without it, `optimize=False` turns graph
    optimizations off, as in the proof (then a chain equals end2end bit for bit), and `profile`
    names a folder in which onnxruntime writes a trace (`Pipeline.end_profiling`).
    """

    providers: Sequence[Provider] = ("CPUExecutionProvider",)
    options: Any = None
    optimize: bool = True
    profile: str | Path | None = None

    def load(self, model: Path) -> Session:
        """Return the model, loaded; raises RunError if it or a setting cannot be taken."""
        available = onnxruntime.get_available_providers()
        names = [one if isinstance(one, str) else one[0] for one in self.providers]
        for name in names:
            if name not in available:
                # onnxruntime itself would warn and take the CPU.
                raise RunError(
                    problem(
                        f"execution provider '{name}'",
                        "this onnxruntime does not have it",
                        one_of(available),
                        suggestion(name, available),
                    )
                )
        try:
            return Session(
                onnxruntime.InferenceSession(
                    str(model), self._session_options(model), providers=list(self.providers)
                )
            )
        except RunError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no common class
            raise RunError(
                problem(Place(str(model)), "onnxruntime cannot load it", _line(error))
            ) from error

    def _session_options(self, model: Path) -> Any:
        if self.options is not None:
            if not self.optimize or self.profile is not None:
                raise RunError(
                    problem(
                        "OnnxRuntime",
                        "it has `options` besides `optimize` or `profile`",
                        "expected only one of both ways",
                        "set graph_optimization_level and enable_profiling in `options`",
                    )
                )
            return self.options
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        if not self.optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if self.profile is not None:
            Path(self.profile).mkdir(parents=True, exist_ok=True)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(self.profile) / model.name)
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
            raise RunError(
                problem("onnxruntime", "it cannot run the segment", _line(error))
            ) from error

    def end_profiling(self) -> Path | None:
        """End a profile and return its file; None if none was asked for."""
        if not self._session.get_session_options().enable_profiling:
            return None
        return Path(self._session.end_profiling())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
