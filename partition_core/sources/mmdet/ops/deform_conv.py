"""Deformable convolution, modulated or not, as a torch custom op and as ONNX's DeformConv.

Sources: Dai et al., "Deformable Convolutional Networks", ICCV 2017; Zhu et al., "Deformable
ConvNets v2", CVPR 2019; mmcv 2.1, `mmcv/ops/csrc/pytorch/cpu/modulated_deform_conv.cpp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import torch

from partition_core.sources.mmdet.ops.bilinear import sampled
from partition_core.trace.opset import op

_Pair = int | tuple[int, int]


@torch.library.custom_op("partition::deform_conv", mutates_args=())
def deform_conv(
    input: torch.Tensor,
    offset: torch.Tensor,
    weight: torch.Tensor,
    mask: Optional[torch.Tensor],  # noqa: UP045  # reason: torch.library reads no other form
    bias: Optional[torch.Tensor],  # noqa: UP045  # reason: the same
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
) -> torch.Tensor:
    """Return (N, O, h, w): a convolution whose kernel points are shifted by `offset`.

    input: (N, C, H, W) float; weight: (O, C / groups, kh, kw); offset: (N, deform_groups * 2 *
    kh * kw, h, w) in cells, y before x for each point of the kernel; mask: a factor for each
    point, (N, deform_groups * kh * kw, h, w); bias: (O,). `stride`, `padding` and `dilation`
    are y and x. Each of the `deform_groups` groups of channels has its own offsets; outside of
    `input` everything is 0.
    """
    count, channels, height, width = input.shape
    outputs, _, *kernel = weight.shape
    out_height, out_width = offset.shape[2:]
    points = kernel[0] * kernel[1]
    maps = input.reshape(count * deform_groups, channels // deform_groups, height, width)
    moved = offset.reshape(count * deform_groups, points, 2, out_height, out_width)
    y, x = (
        (
            torch.arange(size).to(offset) * stride[axis]
            - padding[axis]
            + torch.arange(kernel[axis]).to(offset)[:, None] * dilation[axis]
        )
        for axis, size in ((0, out_height), (1, out_width))
    )
    form = (-1, *kernel, out_height, out_width)
    rows = y[:, None, :, None] + moved[:, :, 0].reshape(form)
    columns = x[None, :, None, :] + moved[:, :, 1].reshape(form)
    read = sampled(maps, rows.flatten(1), columns.flatten(1))
    read = read.reshape(count, deform_groups, -1, points, out_height * out_width)
    if mask is not None:
        read = read * mask.reshape(count, deform_groups, 1, points, -1)
    columns_of = read.reshape(count, groups, -1, out_height * out_width)
    result = weight.reshape(groups, outputs // groups, -1) @ columns_of
    result = result.reshape(count, outputs, out_height, out_width)
    return result if bias is None else result + bias[:, None, None]


@deform_conv.register_fake
def _fake_deform_conv(
    input: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor, *_: Any
) -> torch.Tensor:
    return input.new_empty((input.shape[0], weight.shape[0], *offset.shape[2:]))


def onnx_deform_conv(
    input: Any,
    offset: Any,
    weight: Any,
    mask: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
) -> Any:
    """Translate `deform_conv` to standard operators."""
    return op.DeformConv(
        input,
        weight,
        offset,
        bias,
        mask,
        dilations=list(dilation),
        group=groups,
        kernel_shape=[int(size) for size in weight.shape[2:]],
        offset_group=deform_groups,
        pads=[*padding, *padding],
        strides=list(stride),
    )


def forward(
    input: torch.Tensor,
    offset: torch.Tensor,
    weight: torch.Tensor,
    stride: _Pair = 1,
    padding: _Pair = 0,
    dilation: _Pair = 1,
    groups: int = 1,
    deform_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> torch.Tensor:
    """Do what mmcv's `DeformConv2dFunction.forward` does."""
    return modulated_forward(
        input, offset, None, weight, None, stride, padding, dilation, groups, deform_groups
    )


def modulated_forward(
    input: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: _Pair = 1,
    padding: _Pair = 0,
    dilation: _Pair = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> torch.Tensor:
    """Do what mmcv's `ModulatedDeformConv2dFunction.forward` does."""
    steps, pads, gaps = _pair(stride), _pair(padding), _pair(dilation)
    height, width = (
        (input.shape[axis + 2] + 2 * pads[axis] - gaps[axis] * (weight.shape[axis + 2] - 1) - 1)
        // steps[axis]
        + 1
        for axis in (0, 1)
    )
    result: torch.Tensor = deform_conv(
        input,
        _as_read(offset, height, width),
        weight,
        None if mask is None else _as_read(mask, height, width),
        bias,
        steps,
        pads,
        gaps,
        groups,
        deform_groups,
    )
    return result


def _as_read(buffer: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return `buffer` (N, C, H, W) as (N, C, height, width), read as the compiled code reads it.

    That interprets the start of each picture's memory as maps of the output's size, whatever their
    shape. DyHead relies on this where a level is smaller than the one of its offsets.
    """
    if buffer.shape[2] == height and buffer.shape[3] == width:
        return buffer
    needed = buffer.shape[1] * height * width
    return buffer.flatten(1)[:, :needed].reshape(-1, buffer.shape[1], height, width)


def _pair(value: _Pair) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
