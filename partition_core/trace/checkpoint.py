"""Loads a checkpoint file into a model without running its code; every tensor must fit."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn

from partition_core.base.errors import ExportError
from partition_core.base.wording import first_of
from partition_core.recipe.values import Checkpoint

_SHOWN = 5
_UNREAD = (
    # mmengine's runner writes numbers and their history beside the weights, and names its own
    # functions by `getattr`.
    "builtins.getattr",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.ndarray",
    "numpy.dtype",
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ),
    *(f"numpy.dtypes.{name}DType" for name in ("Float64", "Float32", "Int64")),
)
_WITHOUT_EFFECT = ("num_batches_tracked",)
_TRAINING_ONLY = ("ema_",)


def load_state(
    model: nn.Module, named: Checkpoint, file: Path | None, place: str, part: str = ""
) -> None:
    """Load the state dict of `file` into `model`; of a larger model's file, what is below `part`.

    Raises ExportError for a file that is not a checkpoint, that holds more than tensors and plain
    values, or whose tensors are not exactly those of the model (names and shapes).
    """
    if file is None:
        raise ExportError.at(place, f"checkpoint '{named.checkpoint}' was not fetched")
    state = _state(file, named, place)
    below = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")}
    state = below if part and below else state
    expected = model.state_dict()
    wrong = [
        f"'{name}' has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    missing = [
        f"no '{name}'"
        for name in expected
        if name not in state and not name.endswith(_WITHOUT_EFFECT)
    ]
    unknown = [
        f"the model has no '{name}'"
        for name in state
        if name not in expected and not name.startswith(_TRAINING_ONLY)
    ]
    differences = [first_of(kind, _SHOWN, "; ") for kind in (wrong, missing, unknown) if kind]
    if differences:
        raise ExportError.at(
            place,
            f"checkpoint '{named.checkpoint}' does not fit the model",
            "; ".join(differences),
            "check that it belongs to this config",
        )
    model.load_state_dict({name: state[name] for name in expected if name in state}, strict=False)


def _state(file: Path, named: Checkpoint, place: str) -> dict[str, torch.Tensor]:
    try:
        with torch.serialization.safe_globals([(_Unread, name) for name in _UNREAD]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds for a file that it refuses
        raise ExportError.at(
            place,
            f"checkpoint '{named.checkpoint}' cannot be read",
            _reason(error),
            "a checkpoint holds tensors and plain values only, as torch.save writes them",
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise ExportError.at(
            place,
            f"checkpoint '{named.checkpoint}' holds no state dict",
            "expected a dict of tensors, or one below the key 'state_dict'",
        )
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


class _Unread:
    """Stands for an object beside the weights that is not loaded: takes any state, does nothing."""

    def __new__(cls, *args: object) -> _Unread:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


def without_unsafe_advice(text: str) -> str:
    """Return a message of torch, on one line, without its advice to run a file's code."""
    words = " ".join(text.split())
    for sign, meaning in _KINDS.items():
        if sign in words:
            return meaning
    words = words.rpartition("WeightsUnpickler error: ")[2]
    for advice in ("Please use `torch", "Check the documentation of torch.load"):
        words = words.partition(advice)[0]
    sentences = _SENTENCE.split(words)
    safe = [text for text in sentences if not any(sign in text for sign in _UNSAFE)]
    return " ".join(safe).strip()


_SENTENCE = re.compile(r"(?<=[.!?:]) ")
_UNSAFE = ("weights_only", "Weights only", "arbitrary code", "trust", "safe_globals")
_KINDS = {
    "TorchScript archives": "it is a TorchScript archive",
    "legacy .tar format": "it is in the tar format of torch before 0.4",
}
"""Kinds of files that torch refuses with that advice in its message."""


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):  # from the first byte: not a pickle
        return "it is not a file that torch.save wrote"
    return without_unsafe_advice(str(error))[:300] or type(error).__name__
