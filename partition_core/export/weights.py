"""Deterministic weights from a seed: what a detector gives looks like detections.

Each tensor is drawn from its own generator (Philox, keyed by the seed and the tensor's name).
The weights of each filter sum to zero (Huang et al., "Centered Weight Normalization", ICCV
2017): what all channels have in common would otherwise drown, layer by layer, what differs from
place to place. Each layer is then scaled so that its output keeps a standard deviation near 1
(Mishkin and Matas, "All you need is a good init", ICLR 2016), by a power of two, so that
rounding differences between machines do not reach the weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

_PRIOR_BELOW = -1.5
_CLASS_BIAS = -3.0
_ONE_OF_MANY_BIAS = -6.0
_MANY = 10
_CLASS_STD = 2.0
_BOX_STD = 0.5
_RESIDUAL_GAIN = 0.25
_SHARPNESS = 1.5
_ACTIVE = 1.0
_GRID = 8.0
_ROUNDING = 1e-5
_MAP_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
_NORMS = (*_MAP_NORMS, nn.modules.batchnorm._NormBase, nn.LayerNorm)


def seed_weights(
    model: nn.Module, seed: int, init: Callable[[], None], run: Callable[[], Any]
) -> None:
    """Give every parameter and running statistic of `model` a value that `seed` decides.

    `init` applies the model's own initialization, which tells the channels that stand for
    classes: it starts them with a low prior probability (Lin et al., "Focal Loss", 2017).
    `run` runs the model once on a typical input. Buffers that are no statistics, such as
    anchors or index tables, keep the values the model gave them.
    """
    torch.manual_seed(seed)
    init()
    with torch.no_grad():
        priors = _prior_channels(model)
        stds = _narrow_layers(model)
        for name, module in model.named_modules():
            for tensor_name, tensor in _own_tensors(module):
                _draw(module, tensor_name, tensor, f"{seed}:{name}.{tensor_name}")
        with _scaled_while_running(model, priors, stds):
            run()


def _own_tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    statistics = [(name, b) for name, b in module.named_buffers(recurse=False) if "running" in name]
    return [*module.named_parameters(recurse=False), *statistics]


def _prior_channels(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return, by module name, which output channels start with a low prior probability."""
    priors = {}
    for name, module in model.named_modules():
        bias = getattr(module, "bias", None)
        if isinstance(bias, torch.Tensor) and _is_weighted(module):
            low = bias < _PRIOR_BELOW
            if bool(low.any()):
                priors[name] = low
    return priors


def _narrow_layers(model: nn.Module) -> dict[str, float]:
    """Return the standard deviation of the outputs, by name, of layers that stay below 1.

    Those whose own initialization starts at zero give what is added to something else: places to
    sample at, refinements of boxes. As wide as others they would enlarge noise layer by layer. In
    mmdet's heads with a `bbox_coder`, layers called `…reg…` give offsets of boxes, which would
    move nearly all boxes to the borders of the picture.
    """
    found = {}
    for head, owner in model.named_modules():
        if _is_weighted(owner) and not bool(torch.as_tensor(owner.weight).any()):
            found[head] = _RESIDUAL_GAIN
        if hasattr(owner, "bbox_coder"):
            for name, module in owner.named_modules():
                if "reg" in name.rpartition(".")[2] and _is_weighted(module):
                    found[f"{head}.{name}".lstrip(".")] = _BOX_STD
    return found


def _is_weighted(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    plain = not isinstance(module, (*_NORMS, nn.Embedding))
    return isinstance(weight, torch.Tensor) and weight.dim() >= 2 and plain


def _draw(module: nn.Module, name: str, tensor: torch.Tensor, key: str) -> None:
    """Fill `tensor` with the values for its role in `module`, from the generator of `key`."""
    if isinstance(module, _NORMS):
        mean, std = (1.0, 0.05) if name in ("weight", "running_var") else (0.0, 0.05)
        if name == "weight" and not bool(tensor.any()):
            mean = _RESIDUAL_GAIN
        elif name == "bias" and _is_followed_by_activation(module):
            mean = _ACTIVE
    elif isinstance(module, nn.Embedding):
        mean, std = 0.0, 1.0
    elif tensor.dim() >= 2:
        mean, std = 0.0, 1.0 / math.sqrt(max(1, tensor[0].numel()))
    elif name.endswith("bias"):
        mean, std = 0.0, 0.1
    else:
        return  # a scale or a gain: the model's own start value is what its formula expects
    digest = hashlib.sha256(key.encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
    drawn = generator.standard_normal(tuple(tensor.shape), dtype=np.float32)
    if _is_weighted(module) and name == "weight" and tensor[0].numel() > 1:
        drawn -= drawn.mean(axis=tuple(range(1, drawn.ndim)), keepdims=True)
    tensor.copy_(torch.from_numpy(np.asarray(drawn)).mul_(std).add_(mean))
    if name == "in_proj_weight":
        tensor[: 2 * len(tensor) // 3].mul_(_SHARPNESS)


def _is_followed_by_activation(norm: nn.Module) -> bool:
    """Return whether a norm whose weight is drawn works on maps and ends no residual branch."""
    weight = norm.weight if isinstance(norm, _MAP_NORMS) else None
    return weight is not None and float(weight.mean()) > (1.0 + _RESIDUAL_GAIN) / 2


@contextlib.contextmanager
def _scaled_while_running(
    model: nn.Module, priors: dict[str, torch.Tensor], stds: dict[str, float]
) -> Iterator[None]:
    """Scale each weighted layer at its first call, so that what follows sees its new output."""
    with contextlib.ExitStack() as undo:
        for name, module in model.named_modules():
            hook: _ScaleOnce | _CentreOnce
            if _is_weighted(module):
                hook = _ScaleOnce(priors.get(name), stds.get(name, 1.0))
            elif getattr(module, "running_mean", None) is not None:
                hook = _CentreOnce()
            else:
                continue
            undo.callback(module.register_forward_hook(hook).remove)
        yield


class _ScaleOnce:
    """A forward hook that scales a layer's weight once, by a power of two.

    It does so at the first call whose output differs from place to place.
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
            return None  # a layer that arranges its output in a way of its own
        along = [channels if number == axis else 1 for number in range(output.dim())]
        shift = bias.reshape(along) if isinstance(bias, torch.Tensor) else 0.0
        weighted = output - shift
        spread = _spread(weighted, axis)
        # Queries that all start alike differ by rounding alone: a later call tells the scale.
        if not math.isfinite(spread) or spread <= _rounding(module, inputs, output):
            return None
        self._done = True
        factor = torch.full((channels,), _power_of_two(self._std / spread))
        if self._prior is not None:
            factor = torch.where(
                self._prior, _power_of_two(_CLASS_STD / spread), _power_of_two(_BOX_STD / spread)
            )
        # A layer that normalizes its weight has a gain of its own (mmcv's `ConvAWS2d`).
        gain = getattr(module, "weight_gamma", module.weight)
        gain.mul_(_along_weight(factor, module))
        scaled = weighted * factor.reshape(along)
        if bias is None:
            return scaled
        if self._prior is not None:
            module.bias.copy_(torch.where(self._prior, _class_bias(self._prior), module.bias))
        module.bias.sub_(_common(scaled, axis))
        return scaled + module.bias.reshape(along)


def _outputs(module: Any) -> int:
    """Return the number of channels that a weighted layer gives."""
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
    """Return the bias of class channels: lower where a layer gives many classes and nothing else.

    Their scores stand alone, while those beside an objectness are multiplied by it; as many
    candidates as there are of both would be masks in a head that draws one for each.
    """
    return _ONE_OF_MANY_BIAS if len(prior) >= _MANY and bool(prior.all()) else _CLASS_BIAS


def _spread(output: torch.Tensor, axis: int) -> float:
    """Return the standard deviation of a layer's output from place to place, within channels.

    `axis` is that of the channels: 1 of a convolution, the last one of a linear layer.
    """
    axes = tuple(number for number in range(output.dim()) if number != axis)
    return float((output - output.mean(dim=axes, keepdim=True)).std())


def _rounding(module: Any, inputs: Any, output: torch.Tensor) -> float:
    """Return a spread that rounding alone may give: of the output or the products summed in it."""
    maps = [one for one in inputs if isinstance(one, torch.Tensor) and one.is_floating_point()]
    read = sum(float(one.abs().max()) for one in maps)
    return _ROUNDING * (float(output.abs().max()) + float(module.weight.abs().max()) * read)


def _common(output: torch.Tensor, axis: int) -> torch.Tensor:
    """Return what all places have in common, (C,), of channels at `axis`; rounded coarsely."""
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
