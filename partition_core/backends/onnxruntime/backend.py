"""onnxruntime as a backend: as a user sets it, and as plain as a proof needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition_core.backends.backend import Agreement, Backend, Conversion
from partition_core.base.packages import installed

if TYPE_CHECKING:
    from partition_core.backends.onnxruntime.plain import PlainSession
    from partition_core.backends.onnxruntime.session import Session

# The module may come from one of several packages.
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
_OPTIMIZED = Agreement(1e-4)
"""A fusion that a cut breaks rounds differently: relative L2 1.2e-5 was measured on YOLOv3-608."""

Provider = str | tuple[str, Mapping[str, Any]]


class _OnnxRuntime(Backend):
    name = "onnxruntime"

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield the packages that the module may come from, with their versions."""
        return installed(_PACKAGES)

    def convert(self, segment: Path, folder: Path) -> Conversion:
        """Return the file itself."""
        return Conversion((segment,))


@dataclass(frozen=True)
class OnnxRuntime(_OnnxRuntime):
    """Settings with which onnxruntime runs a segment.

    `providers` are execution providers in the order of preference, each a name or a name with its
    options. `options` is an `onnxruntime.SessionOptions`; without it, `optimize=False` turns graph
    optimizations off, as in the proof (then a chain equals end2end bit for bit), and `profile`
    names a folder in which onnxruntime writes a trace (`Pipeline.end_profiling`).
    """

    providers: Sequence[Provider] = ("CPUExecutionProvider",)
    options: Any = None
    optimize: bool = True
    profile: str | Path | None = None

    def load(self, *files: Path) -> Session:
        """Return the loaded model; raises RunError if it or a setting is not supported."""
        from partition_core.backends.onnxruntime.session import loaded

        (model,) = files
        return loaded(model, self)

    def agreement(self) -> Agreement:
        """Return that of a chain: optimizations may round differently where it was cut."""
        return _OPTIMIZED if self.optimize else Agreement()

    def frugal(self) -> OnnxRuntime:
        """Return it without an arena: each tensor is freed after its last read."""
        from partition_core.backends.onnxruntime.session import without_arena

        return replace(self, options=without_arena(self), optimize=True, profile=None)


@dataclass(frozen=True)
class Plain(_OnnxRuntime):
    """onnxruntime for a proof: on the CPU, graph optimizations off, limited to the free memory.

    `called` names the model in messages, and random numbers are drawn from `seed`. The state of a
    model that `draws` them would continue from run to run: each run is then the first of a new
    session, with a seed derived from `seed` and the number of the run. `data` is the folder of the
    model's external data, if that is not its own.
    """

    called: str
    seed: int = 0
    draws: bool = False
    data: Path | None = None

    def load(self, *files: Path) -> PlainSession:
        """Return the loaded model; raises ProofError, and so does each run."""
        from partition_core.backends.onnxruntime.plain import PlainSession

        (model,) = files
        return PlainSession(model, self)

    def agreement(self) -> Agreement:
        """Return that of a chain with the same nodes as end2end."""
        return Agreement()


def output_types(model: bytes) -> Mapping[str, tuple[str, tuple[int | str | None, ...]]]:
    """Return what `inferred.output_types` does: the dtype and dims of each output of a file."""
    from partition_core.backends.onnxruntime import inferred

    return inferred.output_types(model)


BACKEND = OnnxRuntime
