"""Deformable RoI pooling: RoIAlign of each bin separately, shifted by an offset.

Source: Dai et al., "Deformable Convolutional Networks", ICCV 2017; mmcv 2.1,
`mmcv/ops/csrc/common/cuda/deform_roi_pool_cuda_kernel.cuh`.
"""

from __future__ import annotations

import torch

from partition_core.sources.mmdet.ops.roi_align import roi_align

_MARGIN = 5e-5


def forward(
    input: torch.Tensor,
    rois: torch.Tensor,
    offset: torch.Tensor | None,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> torch.Tensor:
    """Return (K, C, h, w): the mean of `input` in the h x w shifted bins of each box.

    input: (N, C, H, W) float; rois: (K, 5) float, index of the picture and x1 y1 x2 y2; offset:
    (K, 2, h, w) float, a bin's shift to the right and down as a fraction, times `gamma`, of its
    box, or None. Does what mmcv's `DeformRoIPoolFunction.forward` does.
    """
    height, width = output_size
    start = (rois[:, 1:3] * spatial_scale - 0.5)[..., None, None]
    size = ((rois[:, 3:5] - rois[:, 1:3]) * spatial_scale)[..., None, None]
    step = size / size.new_tensor([width, height])[:, None, None]
    down, along = torch.meshgrid(
        torch.arange(height).to(size), torch.arange(width).to(size), indexing="ij"
    )
    low = start + torch.stack([along, down]) * step
    if offset is not None:
        low = low + gamma * size * offset
    # RoIAlign subtracts half a cell again, and takes a sample for each started cell: a bin of two
    # cells must not start a third one because it was shifted.
    margin = 0.0 if sampling_ratio else _MARGIN
    ends = [low + margin * step, low + (1 - margin) * step]
    bins = torch.cat(ends, dim=1).flatten(2).transpose(1, 2).flatten(0, 1) + 0.5
    index = rois[:, :1].repeat_interleave(height * width, dim=0)
    pooled: torch.Tensor = roi_align(
        input, torch.cat([index, bins], dim=1), 1, 1, 1.0, sampling_ratio, "avg", True
    )
    # Contiguous like mmcv's, since callers take views.
    return pooled.reshape(-1, height, width, input.shape[1]).permute(0, 3, 1, 2).contiguous()
