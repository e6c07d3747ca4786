"""Rejects a model whose results differ from run to run: random numbers, or state that it keeps."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from partition_core.base.errors import ExportError
from partition_core.base.wording import first_of

Tensors = Mapping[str, torch.Tensor]
_SHOWN = 3
_TORCH = str(Path(torch.__file__).parent)


def check_repeats(
    first: Tensors,
    run: Callable[[], Tensors],
    tolerance: Callable[[str], float],
    is_detector: bool,
    model: nn.Module,
    place: str,
) -> None:
    """Raise ExportError if `run`, called again, gives other tensors than `first` for equal inputs.

    Both map names for messages to tensors, which may differ by the `tolerance` of their dtype, a
    fraction of their largest value. `model` is what runs, and may write its buffers. The tensors of
    a detector may be in another order, so that it is only rejected if it draws random numbers.
    """
    differing = _differing(first, run(), tolerance)
    if not differing:
        return
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with _Recording() as recording:
        run()
    if is_detector and not recording.drawn:
        return
    written = [
        f"'{name}'"
        for name, buffer in model.named_buffers()
        if name not in before or not torch.equal(before[name], buffer)
    ]
    reason = "it keeps state between runs, or draws random numbers outside PyTorch"
    if recording.drawn:
        reason = f"it is random: {', '.join(recording.drawn)}"
    elif written:
        buffers = first_of(written, _SHOWN)
        reason = f"each run writes state that the next one reads: buffer {buffers}"
    raise ExportError.at(
        place,
        f"two runs of the model in PyTorch on the same inputs give different tensors "
        f"({first_of(differing, _SHOWN)}); {reason}",
        "expected the same tensors in each run, as nothing else can be proven",
        _WRITES_NOTHING
        if written and not recording.drawn
        else "switch it off in 'forward' (dropout by `self.training`), or draw the numbers "
        "outside the model and take them as an input",
    )


_WRITES_NOTHING = "take the state as an input, and return the new state as an output"


def _differing(first: Tensors, again: Tensors, tolerance: Callable[[str], float]) -> list[str]:
    return [
        name
        for name, tensor in first.items()
        if name not in again or not _close(tensor, again[name], tolerance)
    ]


def _close(left: torch.Tensor, right: torch.Tensor, tolerance: Callable[[str], float]) -> bool:
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if not left.is_floating_point():
        return torch.equal(left, right)
    finite = left[torch.isfinite(left)].abs()
    fraction = tolerance(str(left.dtype).removeprefix("torch."))
    allowed = fraction * float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(left, right, rtol=0.0, atol=allowed, equal_nan=True)


class _Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]  # reason: torch's class, untyped
    """Records the operators that draw random numbers, and the lines of the model that call them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # reason: torch's class, untyped
        self.drawn: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            name = func.name().partition(".")[0]
            self.drawn[f"{name}{_called_at()}"] = None
        return func(*args, **(kwargs or {}))


def _called_at() -> str:
    for frame in reversed(traceback.extract_stack()):
        if frame.filename != __file__ and not frame.filename.startswith(_TORCH):
            return f" at {Path(frame.filename).name}:{frame.lineno}"
    return ""
