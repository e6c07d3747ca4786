"""Functions of torch with a number that the input decides, against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from partition_core.trace import symbolic_calls
from partition_core.trace.symbolic_calls import adaptive_max_pool2d, arange
from partition_core.trace.tracing import traceable


class Grouped(torch.nn.Module):
    """Convolves a map with one filter for each row of `x` that is positive in its first place."""

    def __init__(self, side: int, stride: int, padding: int) -> None:
        super().__init__()
        self.side, self.stride, self.padding = side, stride, padding

    def forward(self, x: torch.Tensor, map: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = x[x[:, 0] > 0]
        count, area = rows.shape[0], self.side * self.side
        weight = rows[:, : 4 * area].reshape(count * 2, -1, self.side, self.side)
        found = functional.conv2d(
            map.repeat(1, count, 1, 1),
            weight,
            rows[:, -2:].reshape(count * 2),
            stride=self.stride,
            padding=self.padding,
            groups=count,
        )
        return {"found": found}


@pytest.mark.parametrize(("side", "stride", "padding"), [(1, 1, 0), (3, 2, 1)])
def test_as_many_groups_as_rows_survive(side: int, stride: int, padding: int) -> None:
    module = Grouped(side, stride, padding)
    x = torch.randn(6, 4 * side * side + 2, generator=torch.Generator().manual_seed(1))
    maps = torch.randn(1, 2, 7, 8, generator=torch.Generator().manual_seed(2))
    with traceable(), symbolic_calls.symbolic_calls(), torch.no_grad():
        program = torch.export.export(module, (x, maps), strict=False)
    assert functional.conv2d is symbolic_calls._conv2d
    for rows in (x, -x, x[:, :].abs()):
        found = program.module()(rows, maps)["found"]
        expected = module(rows, maps)["found"]
        assert found.numel() > 0
        torch.testing.assert_close(found, expected)
    none = program.module()(-x.abs(), maps)["found"]
    assert none.shape[1] == 0


@pytest.mark.parametrize(("height", "width", "cells"), [(5, 7, 3), (8, 4, (4, 2)), (6, 9, (5, 1))])
def test_adaptive_pooling_is_that_of_torch(height: int, width: int, cells: Any) -> None:
    image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    ours = adaptive_max_pool2d(image, cells)
    assert torch.equal(ours, functional.adaptive_max_pool2d(image, cells))


@pytest.mark.parametrize("bounds", [(0, 6 / 2), (5,), (1, 7, 2), (0.5, 3)])
def test_a_range_has_the_type_that_torch_gives_it(bounds: tuple[float, ...]) -> None:
    expected = torch.arange(*bounds)
    assert arange(*bounds).dtype == expected.dtype and torch.equal(arange(*bounds), expected)
