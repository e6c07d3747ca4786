"""A checkpoint file put into a model: read without running code, and every tensor must fit."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partition_core.errors import ExportError, Place, problem
from partition_core.recipe import Checkpoint

_SHOWN = 5
_HARMLESS = (
    # What mmengine's runner writes beside the weights: numbers and their history, no code.
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Int64DType",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
)
_WITHOUT_EFFECT = ("num_batches_tracked",)
_TRAINING_ONLY = ("ema_",)


def load_state(model: nn.Module, named: Checkpoint, file: Path | None, place: Place) -> None:
    """Load the state dict of `file` into `model`.

    Raises ExportError for a file that is no checkpoint, that holds more than tensors and plain
    values, or whose tensors are not exactly those of the model (names and shapes).
    """
    if file is None:
        raise ExportError(problem(place, f"checkpoint '{named.checkpoint}' was not fetched"))
    state = _state(file, named, place)
    own = model.state_dict()
    wrong = [
        f"'{name}' is {tuple(state[name].shape)} and should be {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    missing = [f"no '{name}'" for name in own if name not in state]
    missing = [
        text for text in missing if not text.endswith(tuple(f"{w}'" for w in _WITHOUT_EFFECT))
    ]
    unknown = [
        f"'{name}' has no place in the model"
        for name in state
        if name not in own and not name.startswith(_TRAINING_ONLY)
    ]
    faults = [*wrong, *missing, *unknown]
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ExportError(
            problem(
                place,
                f"checkpoint '{named.checkpoint}' does not fit the model",
                "; ".join(faults[:_SHOWN]) + more,
                "check that it belongs to this config",
            )
        )
    model.load_state_dict({name: state[name] for name in own if name in state}, strict=False)


def _state(file: Path, named: Checkpoint, place: Place) -> dict[str, torch.Tensor]:
    try:
        with torch.serialization.safe_globals(_harmless_types()):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds for a file that it refuses
        reason = " ".join(str(error).split())[:300]
        raise ExportError(
            problem(
                place,
                f"checkpoint '{named.checkpoint}' cannot be read",
                reason,
                "a checkpoint holds tensors and plain values only, as torch.save writes them",
            )
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise ExportError(
            problem(
                place,
                f"checkpoint '{named.checkpoint}' holds no state dict",
                "expected a dict of tensors, or one below the key 'state_dict'",
            )
        )
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _harmless_types() -> list[Any]:
    found = []
    for path in _HARMLESS:
        module, _, name = path.rpartition(".")
        with contextlib.suppress(ImportError, AttributeError):  # what is not here cannot be read
            found.append(getattr(importlib.import_module(module), name))
    return found
