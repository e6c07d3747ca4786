"""Scales layers with seeded weights to a known output spread while the model runs once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_CLASS_BIAS = -3.0
_ONE_OF_MANY_BIAS = -6.0
_MANY = 10
_CLASS_STD = 2.0
BOX_STD = 0.5
_GRID = 8.0
_ROUNDING = 1e-5
MAP_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
NORMS = (*MAP_NORMS, nn.modules.batchnorm._NormBase, nn.LayerNorm)


def is_weighted(module: nn.Module) -> bool:
    """Return whether a module multiplies its input by a weight of its own, unlike a norm."""
    weight = getattr(module, "weight", None)
    plain = not isinstance(module, (*NORMS, nn.Embedding))
    return isinstance(weight, torch.Tensor) and weight.dim() >= 2 and plain


@contextlib.contextmanager
def scaled_while_running(
    model: nn.Module, priors: dict[str, torch.Tensor], stds: dict[str, float]
) -> Iterator[None]:
    """Scale each weighted layer at its first call, so that what follows sees its new output.

    `priors` maps layer names to a mask of the output channels that stand for classes, `stds` to
    the standard deviation of the output, 1 by default.
    """
    with contextlib.ExitStack() as undo:
        for name, module in model.named_modules():
            hook: _ScaleOnce | _CentreOnce
            if is_weighted(module):
                hook = _ScaleOnce(priors.get(name), stds.get(name, 1.0))
            elif getattr(module, "running_mean", None) is not None:
                hook = _CentreOnce()
            else:
                continue
            undo.callback(module.register_forward_hook(hook).remove)
        yield


class _ScaleOnce:
    """A forward hook that scales a layer's weight once, by a power of two.

    It does so at the first call whose output varies over positions.
    """

    def __init__(self, prior: torch.Tensor | None, std: float) -> None:
        self._prior = prior
        self._std = std
        self._done = False

    def __call__(self, module: Any, inputs: Any, output: Any) -> Any:
        if self._done or not isinstance(output, torch.Tensor) or output.numel() < 2:
            return None
        bias = getattr(module, "bias", None)
        axis = 1 if module.weight.dim() > 2 else output.dim() - 1
        channels = _outputs(module)
        if output.shape[axis] != channels:
            self._done = True
            return None  # a layer with an output layout of its own
        along = [channels if number == axis else 1 for number in range(output.dim())]
        shift = bias.reshape(along) if isinstance(bias, torch.Tensor) else 0.0
        weighted = (output - shift).float()  # sums of squares overflow float16
        spread = _spread(weighted, axis)
        # Queries that all start the same differ only by rounding: a later call gives the scale.
        if not math.isfinite(spread) or spread <= _rounding(module, inputs, output):
            return None
        self._done = True
        factor = torch.full((channels,), _power_of_two(self._std / spread))
        if self._prior is not None:
            factor = torch.where(
                self._prior, _power_of_two(_CLASS_STD / spread), _power_of_two(BOX_STD / spread)
            )
        # A layer that normalizes its weight has a gain of its own (mmcv's `ConvAWS2d`).
        gain = getattr(module, "weight_gamma", module.weight)
        gain.mul_(_along_weight(factor, module))
        scaled = weighted * factor.reshape(along)
        if bias is None:
            return scaled.to(output.dtype)
        if self._prior is not None:
            module.bias.copy_(torch.where(self._prior, _class_bias(self._prior), module.bias))
        module.bias.sub_(_common(scaled, axis))
        return (scaled + module.bias.reshape(along)).to(output.dtype)


def _outputs(module: Any) -> int:
    """Return the number of output channels of a weighted layer."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return int(module.weight.shape[1]) * module.groups
    return len(module.weight)


def _along_weight(factor: torch.Tensor, module: Any) -> torch.Tensor:
    """Return `factor` (C,), one for each output channel, shaped to multiply a layer's weight.

    The weight of a transposed convolution is (inputs, outputs of a group, …).
    """
    rest = [1] * (module.weight.dim() - 2)
    if not isinstance(module, nn.modules.conv._ConvTransposeNd):
        return factor.reshape(-1, 1, *rest)
    inputs, of_group = module.weight.shape[:2]
    grouped = factor.reshape(module.groups, 1, of_group)
    spread = grouped.expand(-1, inputs // module.groups, -1)
    return spread.reshape(inputs, of_group, *rest)


def _class_bias(prior: torch.Tensor) -> float:
    """Return the bias of class channels: lower where a layer has many classes and nothing else.

    Their scores stand alone, while those beside an objectness are multiplied by it; otherwise a
    head that draws a mask for each candidate would draw too many.
    """
    return _ONE_OF_MANY_BIAS if len(prior) >= _MANY and bool(prior.all()) else _CLASS_BIAS


def _spread(output: torch.Tensor, axis: int) -> float:
    """Return the standard deviation of a layer's output over positions, within channels.

    `axis` is that of the channels: 1 of a convolution, the last one of a linear layer.
    """
    axes = tuple(number for number in range(output.dim()) if number != axis)
    return float((output - output.mean(dim=axes, keepdim=True)).std())


def _rounding(module: Any, inputs: Any, output: torch.Tensor) -> float:
    """Return a spread that rounding alone may cause: of the output or the products summed in it."""
    maps = [m for m in inputs if isinstance(m, torch.Tensor) and m.is_floating_point()]
    read = sum(float(each.abs().max()) for each in maps)
    return _ROUNDING * (float(output.abs().max()) + float(module.weight.abs().max()) * read)


def _common(output: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the mean over positions, (C,), of channels at `axis`, rounded coarsely."""
    axes = tuple(number for number in range(output.dim()) if number != axis)
    common: torch.Tensor = output.mean(dim=axes)
    return torch.where(common.isfinite(), (common * _GRID).round() / _GRID, 0.0)


class _CentreOnce:
    """A forward hook that sets a BatchNorm's mean to that of its first input, once."""

    def __init__(self) -> None:
        self._done = False

    def __call__(self, module: Any, inputs: Any, output: Any) -> Any:
        if self._done or inputs[0].numel() < 2:
            return None
        self._done = True
        module.running_mean.copy_(_common(inputs[0], 1))
        return module.forward(*inputs)


def _power_of_two(factor: float) -> float:
    return float(2.0 ** round(math.log2(factor)))
