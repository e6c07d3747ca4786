"""RoIAlign as a torch custom op, and as ONNX's RoiAlign.

Source: He et al., "Mask R-CNN", ICCV 2017; mmcv 2.1, `mmcv/ops/csrc/pytorch/cpu/roi_align.cpp`.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from partition_core.trace.opset import ints, op

_LEAST = -10000.0


@torch.library.custom_op("partition::roi_align", mutates_args=())
def roi_align(
    input: torch.Tensor,
    rois: torch.Tensor,
    height: int,
    width: int,
    spatial_scale: float,
    sampling_ratio: int,
    mode: str,
    aligned: bool,
) -> torch.Tensor:
    """Return (K, C, height, width): `input` sampled in the bins of each box.

    input: (N, C, H, W) float; rois: (K, 5) float, index of the picture and x1 y1 x2 y2, which
    `spatial_scale` turns into cells of `input`. Each bin is the mean (`mode` "avg") or the
    largest ("max") of `sampling_ratio` x `sampling_ratio` samples, or for 0 of one per started
    cell. `aligned` puts the centre of a cell at half a cell. A sample more than a cell outside is
    0; a bin without samples is 0, or mmcv's -10000 for "max".
    """
    pooled = input.new_empty((len(rois), input.shape[1], height, width))
    # In single precision like the compiled operators, since the number of samples depends on it.
    edges = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    for index, (left, top, right, bottom) in enumerate(edges):
        rows = _weights(input, top, bottom, height, input.shape[2], sampling_ratio, aligned)
        columns = _weights(input, left, right, width, input.shape[3], sampling_ratio, aligned)
        pooled[index] = _pooled(input[int(rois[index, 0])], rows, columns, mode)
    return pooled


def _weights(
    like: torch.Tensor,
    start: torch.Tensor,
    end: torch.Tensor,
    bins: int,
    length: int,
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    """Return (bins, samples, length): the weight of each cell along an axis in each sample."""
    extent = end - start if aligned else (end - start).clamp(min=1.0)
    step = extent / bins
    samples = sampling_ratio if sampling_ratio > 0 else max(math.ceil(float(step)), 0)
    if samples == 0:
        return like.new_zeros((bins, 0, length))
    inside = (torch.arange(samples).to(like) + 0.5) * step / samples
    at = start + torch.arange(bins).to(like)[:, None] * step + inside
    inside_map = (at >= -1.0) & (at <= length)
    share = 1.0 - (at.clamp(0, length - 1)[..., None] - torch.arange(length).to(like)).abs()
    return share.clamp(min=0) * inside_map[..., None]


def _pooled(
    picture: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, mode: str
) -> torch.Tensor:
    """Return (C, bins, bins) of a picture (C, H, W), reading only cells with a weight."""
    empty = rows.shape[1] == 0 or columns.shape[1] == 0
    if empty:
        least = 0.0 if mode == "avg" else _LEAST
        return picture.new_full((len(picture), len(rows), len(columns)), least)
    high, wide = _needed(rows), _needed(columns)
    part, rows, columns = picture[:, high, wide], rows[..., high], columns[..., wide]
    if mode == "avg":
        return rows.mean(dim=1) @ part @ columns.mean(dim=1).T
    samples = rows.flatten(0, 1) @ part @ columns.flatten(0, 1).T
    split = samples.reshape(len(picture), *rows.shape[:2], *columns.shape[:2])
    return split.amax(dim=(2, 4)).clamp(min=_LEAST)


def _needed(weights: torch.Tensor) -> slice:
    used = weights.amax(dim=(0, 1)).nonzero()[:, 0].tolist()
    return slice(used[0], used[-1] + 1) if used else slice(0, 1)


@roi_align.register_fake
def _fake_roi_align(
    input: torch.Tensor, rois: torch.Tensor, height: int, width: int, *rest: Any
) -> torch.Tensor:
    _scale, sampling_ratio, mode, _aligned = rest
    if mode == "max" and sampling_ratio <= 0:
        raise NotImplementedError(
            "RoIAlign with pool_mode 'max' and sampling_ratio 0 has no form in ONNX; "
            "set a sampling_ratio of 1 or more, or pool_mode 'avg'"
        )
    return input.new_empty((rois.shape[0], input.shape[1], height, width))


def onnx_roi_align(
    input: Any,
    rois: Any,
    height: int,
    width: int,
    spatial_scale: float,
    sampling_ratio: int,
    mode: str,
    aligned: bool,
) -> Any:
    """Translate `roi_align` to standard operators.

    onnxruntime's own "max" is the largest of four products instead of samples. Here the samples are
    bins of a finer grid with one sample each, and a MaxPool takes the largest.
    """
    times = sampling_ratio if mode == "max" else 1
    boxes = op.Slice(rois, ints(1), ints(5), ints(1))
    pictures = op.Cast(op.Gather(rois, op.Constant(value_int=0), axis=1), to=7)
    pooled = op.RoiAlign(
        input,
        boxes,
        pictures,
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
        mode="avg",
        output_height=height * times,
        output_width=width * times,
        sampling_ratio=1 if mode == "max" else max(sampling_ratio, 0),
        spatial_scale=spatial_scale,
    )
    if times == 1:
        return pooled
    largest, _indices = op.MaxPool(pooled, kernel_shape=[times, times], strides=[times, times])
    return largest


def forward(
    input: torch.Tensor,
    rois: torch.Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = "avg",
    aligned: bool = True,
) -> torch.Tensor:
    """Do what mmcv's `RoIAlignFunction.forward` does."""
    height, width = (output_size, output_size) if isinstance(output_size, int) else output_size
    pooled: torch.Tensor = roi_align(
        input, rois, height, width, float(spatial_scale), sampling_ratio, pool_mode, aligned
    )
    return pooled
