"""Torch tensors as numpy arrays."""

from __future__ import annotations

import torch

from partition_core.base.arrays import Array
from partition_core.base.rare_dtypes import RARE_NAMES, named_dtype


def as_array(tensor: torch.Tensor) -> Array:
    """Return the elements of `tensor`, also where numpy lacks their dtype (`rare_dtypes`)."""
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in RARE_NAMES:
        return tensor.numpy()
    rare = named_dtype(name)
    bits = torch.uint16 if rare.bits > 8 else torch.uint8
    return tensor.contiguous().view(bits).numpy().view(rare.numpy())
