"""Replacements for torch functions that cannot be traced with symbolic or input-dependent sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.nn import functional

from partition_core.trace.replaced import Replacement, all_replaced

_conv2d: Any = functional.conv2d
_batch_norm: Any = functional.batch_norm
_arange: Any = torch.arange
_detach: Any = torch.Tensor.detach
_topk: Any = torch.Tensor.topk


def symbolic_calls() -> AbstractContextManager[None]:
    """Replace functions and methods of torch, process-wide, by forms that can be traced."""
    return all_replaced(
        (
            Replacement(functional, "conv2d", conv2d),
            Replacement(functional, "adaptive_max_pool2d", adaptive_max_pool2d),
            Replacement(functional, "batch_norm", batch_norm),
            Replacement(torch, "arange", arange),
            # A tensor that is being traced has no memory to copy.
            Replacement(torch.Tensor, "__deepcopy__", lambda self, _memo: self.clone()),
            Replacement(torch.Tensor, "detach", detach),
            # torch's own reads the tensor's memory, which it lacks while it is traced.
            Replacement(torch, "_shape_as_tensor", lambda x: torch.tensor(x.shape)),
            *(Replacement(torch.Tensor, name, _reshaping(name)) for name in ("reshape", "view")),
        )
    )


def adaptive_max_pool2d(
    input: torch.Tensor, output_size: Any, return_indices: bool = False
) -> torch.Tensor:
    """Return what `torch.nn.functional.adaptive_max_pool2d` does, which ONNX has no operator for.

    input: (…, H, W); the cells of the output have the bounds that PyTorch's documentation gives.
    """
    counts = [output_size] * 2 if isinstance(output_size, int) else output_size
    # None means as many cells as the input has.
    rows, columns = (
        _cells(size, size if count is None else count)
        for size, count in zip(input.shape[-2:], counts, strict=True)
    )
    if return_indices:
        raise NotImplementedError("the indices of the largest values have no operator in ONNX")
    maxima = [
        input[..., top:bottom, left:right].amax(dim=(-2, -1))
        for top, bottom in rows
        for left, right in columns
    ]
    shape = (*input.shape[:-2], len(rows), len(columns))
    return torch.stack(maxima, dim=-1).reshape(shape)


def batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Return what `torch.nn.functional.batch_norm` does, without its special case for no rows.

    Without rows it multiplies by the first weight, which gives no rows either.
    """
    arguments = (input, weight, bias, running_mean, running_var)
    result: torch.Tensor
    if training or running_mean is None or running_var is None or not _has_symbols(input):
        result = _batch_norm(
            input, running_mean, running_var, weight, bias, training, momentum, eps
        )
        return result
    result, _, _ = torch.ops.aten._native_batch_norm_legit_no_training(*arguments, momentum, eps)
    return result


def best_first(tensor: torch.Tensor, *values: Any, **options: Any) -> Any:
    """Return what `Tensor.topk` does, always sorted, whatever the caller asks for."""
    return _topk(tensor, *values, **options | {"sorted": True})


def detach(tensor: torch.Tensor) -> torch.Tensor:
    """Return what `Tensor.detach` does, but a mask itself, so that torch keeps one symbol for the
    number of its true elements. As with `detach`, a write into one changes both.
    """
    result: torch.Tensor = tensor if tensor.dtype == torch.bool else _detach(tensor)
    return result


def arange(*values: Any, **options: Any) -> torch.Tensor:
    """Return what `torch.arange` does: floats if any bound is a float, which torch.onnx ignores."""
    bounds = [*values, *(options[name] for name in ("start", "end", "step") if name in options)]
    if "dtype" not in options and any(isinstance(bound, float) for bound in bounds):
        options["dtype"] = torch.get_default_dtype()
    result: torch.Tensor = _arange(*values, **options)
    return result


def _has_symbols(tensor: torch.Tensor) -> bool:
    return any(isinstance(size, torch.SymInt) for size in tensor.shape)


def _cells(size: Any, count: int) -> list[tuple[Any, Any]]:
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _reshaping(name: str) -> Callable[..., torch.Tensor]:
    """Return `Tensor.reshape` or `view`, written so that torch need not ask if a size is zero."""
    plain = getattr(torch.Tensor, name)

    def reshape(tensor: torch.Tensor, *shape: Any, **options: Any) -> torch.Tensor:
        dims = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        if -1 in [dim for dim in dims if isinstance(dim, int)] and any(
            isinstance(dim, torch.SymInt) for dim in dims
        ):
            known = math.prod(dim for dim in dims if not _is_open(dim))
            dims = [tensor.numel() // known if _is_open(dim) else dim for dim in dims]
            shape = tuple(dims)
        result: torch.Tensor = plain(tensor, *shape, **options)
        return result

    return reshape


def _is_open(dim: Any) -> bool:
    return isinstance(dim, int) and dim == -1


def conv2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> torch.Tensor:
    """Return what `torch.nn.functional.conv2d` does; a symbolic `groups` becomes a product.

    input: (N, G C, H, W), weight: (G D, C, kh, kw), bias: (G D,). ONNX's Conv needs a
    constant number of groups, while a product of matrices (D, C kh kw) takes any number.
    """
    if not isinstance(groups, torch.SymInt):
        result: torch.Tensor = _conv2d(input, weight, bias, stride, padding, dilation, groups)
        return result
    count, channels = weight.shape[:2]
    kernel = (weight.shape[2], weight.shape[3])
    single = input.reshape(-1, channels, *input.shape[2:])
    if kernel == (1, 1) and _is(stride, 1) and _is(padding, 0):
        size = list(single.shape[2:])
        columns = single.flatten(2)
    else:
        size = [
            (whole + 2 * pad - dilate * (width - 1) - 1) // step + 1
            for whole, pad, dilate, width, step in zip(
                single.shape[2:],
                _pair(padding),
                _pair(dilation),
                kernel,
                _pair(stride),
                strict=True,
            )
        ]
        columns = functional.unfold(single, kernel, dilation, padding, stride)
    pictures = input.shape[0]
    columns = columns.reshape(pictures, groups, columns.shape[1], columns.shape[2])
    filters = weight.reshape(groups, count // groups, columns.shape[2])
    product = (filters @ columns).reshape(pictures, count, *size)
    return product if bias is None else product + bias[:, None, None]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _is(value: Any, number: int) -> bool:
    return _pair(value) == (number, number)
