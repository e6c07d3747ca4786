"""Multi-scale deformable attention as a torch custom op, and as ONNX's GridSample per level.

Source: Zhu et al., "Deformable DETR", ICLR 2021.
"""

from __future__ import annotations

from typing import Any

import torch

from partition_core.sources.mmdet.ops.bilinear import sampled
from partition_core.trace.opset import floats, ints, op


@torch.library.custom_op("partition::deform_attention", mutates_args=())
def deform_attention(
    value: torch.Tensor,
    spatial_shapes: torch.Tensor,
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
) -> torch.Tensor:
    """Return (N, Q, M * D): for each query and head the weighted sum of samples of all levels.

    value: (N, K, M, D) float, the cells of all L levels, M heads; spatial_shapes: (L, 2) int64,
    height and width of each level; sampling_locations: (N, Q, M, L, P, 2), x and y as fractions of
    the level's width and height; attention_weights: (N, Q, M, L, P). Outside of a level it is 0.
    """
    count, _, heads, depth = value.shape
    queries = sampling_locations.shape[1]
    total = value.new_zeros((count * heads, depth, queries))
    start = 0
    for level, (height, width) in enumerate(spatial_shapes.tolist()):
        cells = value[:, start : start + height * width].permute(0, 2, 3, 1)
        start += height * width
        maps = cells.reshape(count * heads, depth, height, width)
        points = sampling_locations[:, :, :, level].permute(0, 2, 1, 3, 4).flatten(0, 1)
        x, y = points[..., 0] * width - 0.5, points[..., 1] * height - 0.5
        read = sampled(maps, y.flatten(1), x.flatten(1))
        read = read.reshape(*read.shape[:2], *points.shape[1:3])
        shares = attention_weights[:, :, :, level].transpose(1, 2).flatten(0, 1)
        total += (read * shares[:, None]).sum(dim=3)
    return total.reshape(count, heads * depth, queries).transpose(1, 2).contiguous()


@deform_attention.register_fake
def _fake_deform_attention(
    value: torch.Tensor, _shapes: Any, sampling_locations: torch.Tensor, *_rest: Any
) -> torch.Tensor:
    count, _, heads, depth = value.shape
    return value.new_empty((count, sampling_locations.shape[1], heads * depth))


def onnx_deform_attention(
    value: Any, spatial_shapes: Any, sampling_locations: Any, attention_weights: Any
) -> Any:
    """Translate `deform_attention` to standard operators; levels may have any size."""
    count, queries, depth = (
        op.Shape(tensor, start=axis, end=axis + 1)
        for tensor, axis in ((value, 0), (sampling_locations, 1), (value, 3))
    )
    whole = op.Transpose(value, perm=[0, 2, 3, 1])
    grid = op.Sub(
        op.Mul(sampling_locations, floats(2.0)),
        floats(1.0),
    )
    levels, points = (int(size) for size in attention_weights.shape[3:])
    start, total = ints(0), None
    for level in range(levels):
        size = op.Gather(spatial_shapes, op.Constant(value_int=level), axis=0)
        end = op.Add(start, op.ReduceProd(size, keepdims=1))
        maps = op.Reshape(
            op.Slice(whole, start, end, ints(3)), op.Concat(ints(-1), depth, size, axis=0)
        )
        places = op.Reshape(
            _of_level(grid, level, [0, 2, 1, 3, 4]),
            op.Concat(ints(-1), queries, ints(points, 2), axis=0),
        )
        read = op.GridSample(maps, places, align_corners=0, mode="linear", padding_mode="zeros")
        shares = op.Reshape(
            _of_level(attention_weights, level, [0, 2, 1, 3]),
            op.Concat(ints(-1, 1), queries, ints(points), axis=0),
        )
        share = op.ReduceSum(op.Mul(read, shares), ints(3), keepdims=0)
        total = share if total is None else op.Add(total, share)
        start = end
    wide = op.Reshape(total, op.Concat(count, ints(-1), queries, axis=0))
    return op.Transpose(wide, perm=[0, 2, 1])


def _of_level(tensor: Any, level: int, perm: list[int]) -> Any:
    """Return the part of one level of `tensor` (N, Q, M, L, …), without its axis, permuted."""
    return op.Transpose(op.Gather(tensor, op.Constant(value_int=level), axis=3), perm=perm)
