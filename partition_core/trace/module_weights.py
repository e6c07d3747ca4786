"""Which constants of a translated model are weights of its module, in an order of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import onnx_ir as ir
import torch
from torch import nn

from partition_core.base.arrays import Array
from partition_core.base.disk import Digest, digest_of


def module_weights(model: ir.Model, module: nn.Module, around: str) -> tuple[str, ...]:
    """Return the names of the constants that are parameters or buffers of `module`.

    They are in the order of the names that the module has for them, which is the same whatever
    the sizes of the inputs; other constants may depend on these. `around` is the first step of
    names in `module` that `model` leaves out.
    """
    tensors = _tensors(module, f"{around}." if around else "")
    owners = {name: name for name in model.graph.initializers if name in tensors}
    # torch.onnx transposes small matrices itself, and gives them names of its own.
    matrices = dict(_matrices(model, owners))
    transposed = dict(_transposed(tensors, {matrix.shape for matrix in matrices.values()}))
    for name, matrix in matrices.items():
        if (owner := transposed.get(digest_of(matrix.tobytes()))) is not None:
            owners[name] = owner
    return tuple(sorted(owners, key=lambda name: (owners[name], name in tensors)))


def _tensors(module: nn.Module, prefix: str) -> Mapping[str, torch.Tensor]:
    named = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    return {name.removeprefix(prefix): tensor.detach() for name, tensor in named}


def _matrices(model: ir.Model, owners: Mapping[str, str]) -> Iterator[tuple[str, Array]]:
    """Yield the matrices among the constants whose names are none of the module's."""
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if name not in owners and tensor is not None and len(tensor.shape) == 2:
            yield name, tensor.numpy()


def _transposed(
    tensors: Mapping[str, torch.Tensor], shapes: Collection[tuple[int, ...]]
) -> Iterator[tuple[Digest, str]]:
    """Yield the content of each weight that has one of the `shapes` once transposed, and its name.

    Also that in float16.
    """
    for name, tensor in sorted(tensors.items(), reverse=True):
        if tuple(reversed(tensor.shape)) in shapes and tensor.dim() == 2:
            for each in {tensor.dtype, torch.float16}:
                matrix = tensor.to(each).T.contiguous().cpu()
                yield digest_of(matrix.view(torch.uint8).numpy().tobytes()), name
