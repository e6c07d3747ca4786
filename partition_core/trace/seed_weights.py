"""Deterministic weights from a seed, with which a detector's outputs look like detections.

Each tensor is drawn from its own generator (Philox, keyed by the seed and the tensor's name).
The weights of each filter sum to zero (Huang et al., "Centered Weight Normalization", ICCV
2017): otherwise what all channels have in common would drown, layer by layer, the differences
between positions. Each layer is then scaled so that its output keeps a standard deviation near 1
(Mishkin and Matas, "All you need is a good init", ICLR 2016), by a power of two, so that
rounding differences between machines do not reach the weights.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from partition_core.trace.seed_scaling import (
    BOX_STD,
    MAP_NORMS,
    NORMS,
    is_weighted,
    scaled_while_running,
)

_PRIOR_BELOW = -1.5
_RESIDUAL_GAIN = 0.25
_SHARPNESS = 1.5
_ACTIVE = 1.0
_NEAR_START = 0.125
_MOVED = 0.05
"""How far, in parts of its side, the stages of a cascade move a box together."""


def seed_weights(
    model: nn.Module, seed: int, init: Callable[[], None], run: Callable[[], Any]
) -> None:
    """Give every parameter and running statistic of `model` a value that `seed` decides.

    `init` applies the model's own initialization, which reveals the channels that stand for
    classes: it starts them with a low prior probability (Lin et al., "Focal Loss", 2017).
    `run` runs the model once on a typical input. Buffers that are not statistics, such
    as anchors or index tables, keep their values.
    """
    torch.manual_seed(seed)
    # A model's own initialization may overwrite that of an inner layer, which shows its purpose.
    zeros = _zero_layers(model)
    init()
    with torch.no_grad():
        priors = _prior_channels(model)
        stds = dict.fromkeys(zeros | _zero_layers(model), _RESIDUAL_GAIN) | _offset_layers(model)
        for name, module in model.named_modules():
            for tensor_name, tensor in _own_tensors(module):
                _draw(module, tensor_name, tensor, f"{seed}:{name}.{tensor_name}")
        with scaled_while_running(model, priors, stds):
            run()


def _own_tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    statistics = [(name, b) for name, b in module.named_buffers(recurse=False) if "running" in name]
    return [*module.named_parameters(recurse=False), *statistics]


def _prior_channels(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return, by module name, which output channels start with a low prior probability."""
    priors = {}
    for name, module in model.named_modules():
        bias = getattr(module, "bias", None)
        if isinstance(bias, torch.Tensor) and is_weighted(module):
            low = bias < _PRIOR_BELOW
            if bool(low.any()):
                priors[name] = low
    return priors


def _zero_layers(model: nn.Module) -> set[str]:
    """Return the names of layers that start at zero: their outputs stay narrow.

    Their outputs are added to something else: sampling positions, refinements of boxes. As wide as
    others they would amplify noise layer by layer.
    """
    return {
        name
        for name, module in model.named_modules()
        if is_weighted(module) and not bool(torch.as_tensor(module.weight).any())
    }


def _offset_layers(model: nn.Module) -> dict[str, float]:
    """Return the standard deviation of the outputs, by name, of layers that predict box offsets.

    In mmdet's heads with a `bbox_coder` they are called `…reg…`; as wide as others they would move
    nearly all boxes to the borders of the picture.
    """
    stds = {}
    modules = dict(model.named_modules())
    for head, owner in modules.items():
        if hasattr(owner, "bbox_coder"):
            siblings = modules.get(head.rpartition(".")[0])
            stages = len(siblings) if isinstance(siblings, nn.ModuleList) else 1
            for name, module in owner.named_modules():
                if "reg" in name.rpartition(".")[2] and is_weighted(module):
                    stds[f"{head}.{name}".lstrip(".")] = _offset_std(owner, stages)
    return stds


def _offset_std(head: Any, stages: int) -> float:
    """Return the standard deviation of the box offsets of a head in a cascade of `stages`.

    Each stage reads the map at the box of the stage before it: boxes that move far in each stage
    amplify rounding each time.
    """
    stds = getattr(head.bbox_coder, "stds", None)
    if stages == 1 or not stds:
        return BOX_STD
    return _MOVED / (stages * float(stds[0]))


def _draw(module: nn.Module, name: str, tensor: torch.Tensor, key: str) -> None:
    """Fill `tensor` with the values for its role in `module`, from the generator of `key`."""
    mean: torch.Tensor | float
    if isinstance(module, NORMS):
        mean, std = (1.0, 0.05) if name in ("weight", "running_var") else (0.0, 0.05)
        if name == "weight" and not bool(tensor.any()):
            mean = _RESIDUAL_GAIN
        elif name == "bias" and _is_followed_by_activation(module):
            mean = _ACTIVE
    elif isinstance(module, nn.Embedding):
        mean, std = _around_start(tensor)
    elif tensor.dim() >= 2:
        mean, std = 0.0, 1.0 / math.sqrt(max(1, tensor[0].numel()))
    elif name.endswith("bias"):
        mean, std = 0.0, 0.1
    else:
        return  # a scale or a gain: the model's own start value is what its formula expects
    digest = hashlib.sha256(key.encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
    drawn = generator.standard_normal(tuple(tensor.shape), dtype=np.float32)
    if is_weighted(module) and name == "weight" and tensor[0].numel() > 1:
        drawn -= drawn.mean(axis=tuple(range(1, drawn.ndim)), keepdims=True)
    tensor.copy_(torch.from_numpy(np.asarray(drawn)).mul_(std).add_(mean))
    if name == "in_proj_weight":
        tensor[: 2 * len(tensor) // 3].mul_(_SHARPNESS)


def _around_start(rows: torch.Tensor) -> tuple[torch.Tensor | float, float]:
    """Return the mean and the standard deviation of an embedding's `rows` (N, C).

    Rows that all start at the same nonzero value have a meaning, such as Sparse R-CNN's boxes.
    """
    first = rows[:1]
    if len(rows) > 1 and bool(first.any()) and bool((rows == first).all()):
        return first.clone(), _NEAR_START
    return 0.0, 1.0


def _is_followed_by_activation(norm: nn.Module) -> bool:
    """Return whether a norm whose weight is drawn works on maps and ends no residual branch."""
    weight = norm.weight if isinstance(norm, MAP_NORMS) else None
    return weight is not None and float(weight.mean()) > (1.0 + _RESIDUAL_GAIN) / 2
