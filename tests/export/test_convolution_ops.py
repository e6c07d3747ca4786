"""Operators on maps against loops over their definitions, in PyTorch and as exported."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from partition_core.sources.mmdet.ops import TRANSLATIONS
from partition_core.sources.mmdet.ops.deform_attention import deform_attention
from partition_core.sources.mmdet.ops.deform_conv import deform_conv, modulated_forward
from partition_core.trace.to_onnx import trace, translate
from tests.export import op_models
from tests.export.support import run, saved, torch_recipe, without_mmcvs_ops

Arrays = Mapping[str, np.ndarray]


def exported_gives(
    factory: str, inputs: Arrays, settings: Mapping[str, object], folder: Path
) -> list[np.ndarray]:
    recipe = torch_recipe(
        f"tests.export.op_models:{factory}",
        {name: (array.shape, str(array.dtype)) for name, array in inputs.items()},
    )
    module = getattr(op_models, factory)(**settings)
    sample = tuple(torch.from_numpy(array) for array in inputs.values())
    names = list(module(*sample)) if factory == "Cornered" else ["made"]
    program, _ = trace(module, sample, (), contextlib.nullcontext())
    model = translate(program, recipe.export, list(inputs), names, "graph", TRANSLATIONS)
    return list(run(saved(model, folder), inputs).values())


def at(plane: np.ndarray, y: float, x: float) -> float:
    """Return `plane` between its cells; a cell outside is 0."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += plane[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def indices(*sizes: int) -> Iterable[tuple[int, ...]]:
    return np.ndindex(*sizes)


def slow_deform_conv(  # type: ignore[no-untyped-def]
    maps, offset, weight, mask, bias, stride, padding, dilation, groups, deform_groups
):
    count, channels = maps.shape[:2]
    outputs, inner, high, wide = weight.shape
    height, width = offset.shape[2:]
    made = np.zeros((count, outputs, height, width))
    for n, o, y, x in indices(count, outputs, height, width):
        total = bias[o] if bias is not None else 0.0
        for c, i, j in indices(inner, high, wide):
            channel = o // (outputs // groups) * inner + c
            part = channel // (channels // deform_groups)
            point = part * high * wide + i * wide + j
            row = y * stride[0] - padding[0] + i * dilation[0] + offset[n, 2 * point, y, x]
            column = x * stride[1] - padding[1] + j * dilation[1] + offset[n, 2 * point + 1, y, x]
            factor = mask[n, point, y, x] if mask is not None else 1.0
            total += weight[o, c, i, j] * at(maps[n, channel], row, column) * factor
        made[n, o, y, x] = total
    return made


def deform_case(  # type: ignore[no-untyped-def]
    count=1,
    stride=(1, 1),
    padding=(1, 1),
    dilation=(1, 1),
    groups=1,
    deform_groups=1,
    kernel=(3, 3),
):
    random = np.random.default_rng(1)
    size = (6, 7)
    height, width = (
        (size[k] + 2 * padding[k] - dilation[k] * (kernel[k] - 1) - 1) // stride[k] + 1
        for k in (0, 1)
    )
    points = deform_groups * kernel[0] * kernel[1]
    inputs = {
        "maps": random.standard_normal((count, 4, *size)),
        "offset": random.uniform(-3, 3, (count, 2 * points, height, width)),
        "weight": random.standard_normal((4, 4 // groups, *kernel)),
        "mask": random.uniform(0, 1, (count, points, height, width)),
        "bias": random.standard_normal(4),
    }
    # Some points stay where a plain convolution has them, some lie far outside.
    inputs["offset"][:, :, 0] = 0
    inputs["offset"][:, :, 1, ::2] = 50
    settings = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "deform_groups": deform_groups,
    }
    return {name: array.astype(np.float32) for name, array in inputs.items()}, settings


@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"count": 2, "groups": 2, "deform_groups": 2},
        {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2), "deform_groups": 4},
        {"kernel": (1, 2), "padding": (0, 0), "groups": 4},
    ],
)
def test_deformable_convolution(case, modulated: bool, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    inputs, settings = deform_case(**case)
    if not modulated:
        del inputs["mask"], inputs["bias"]
    optional = [inputs.get("mask"), inputs.get("bias")]
    needed = [inputs[name] for name in ("maps", "offset", "weight")]
    expected = slow_deform_conv(*needed, *optional, **settings)
    tensors = [None if array is None else torch.from_numpy(array) for array in needed + optional]
    ours = deform_conv(*tensors, **settings)
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    (found,) = exported_gives("Deformed", inputs, settings, tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_without_offsets_it_is_a_convolution() -> None:
    inputs, settings = deform_case(stride=(2, 2), groups=2)
    maps, offset, weight, bias = (
        torch.from_numpy(inputs[name]) for name in ("maps", "offset", "weight", "bias")
    )
    plain = torch.nn.functional.conv2d(maps, weight, bias, 2, 1, 1, 2)
    ours = deform_conv(maps, torch.zeros_like(offset), weight, None, bias, **settings)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=0)


def test_offsets_of_larger_maps_are_read_from_the_start_of_their_memory() -> None:
    inputs, _settings = deform_case(stride=(2, 2))
    larger, _ = deform_case()
    maps, weight, bias = (torch.from_numpy(inputs[name]) for name in ("maps", "weight", "bias"))
    theirs = modulated_forward(
        maps, *(torch.from_numpy(larger[k]) for k in ("offset", "mask")), weight, bias, 2, 1
    )
    as_read = [
        larger[name].reshape(-1)[: inputs[name].size].reshape(inputs[name].shape)
        for name in ("offset", "mask")
    ]
    expected = slow_deform_conv(
        inputs["maps"], as_read[0], inputs["weight"], as_read[1], inputs["bias"], (2, 2), (1, 1),
        (1, 1), 1, 1,
    )  # fmt: skip
    np.testing.assert_allclose(theirs, expected, atol=1e-4)


def slow_attention(value, shapes, locations, weights):  # type: ignore[no-untyped-def]
    count, _, heads, depth = value.shape
    queries, levels, points = locations.shape[1], *locations.shape[3:5]
    made = np.zeros((count, queries, heads, depth))
    starts = np.cumsum([0, *(h * w for h, w in shapes)])
    for n, q, m, level, p in indices(count, queries, heads, levels, points):
        height, width = shapes[level]
        x, y = locations[n, q, m, level, p]
        for d in range(depth):
            plane = value[n, starts[level] : starts[level + 1], m, d].reshape(height, width)
            read = at(plane, y * height - 0.5, x * width - 0.5)
            made[n, q, m, d] += weights[n, q, m, level, p] * read
    return made.reshape(count, queries, heads * depth)


def attention_case(sizes: list[list[int]], queries: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    shapes = np.array(sizes, np.int64)
    keys = int(shapes.prod(axis=1).sum())
    return {
        "value": random.standard_normal((2, keys, 3, 4)).astype(np.float32),
        "shapes": shapes,
        "locations": random.uniform(-0.2, 1.2, (2, queries, 3, len(sizes), 2, 2)).astype(
            np.float32
        ),
        "weights": random.uniform(0, 1, (2, queries, 3, len(sizes), 2)).astype(np.float32),
    }


def test_deformable_attention_and_its_levels_are_no_numbers_in_the_graph(tmp_path: Path) -> None:
    inputs = attention_case([[4, 5], [2, 3], [1, 1]])
    expected = slow_attention(*inputs.values())
    ours = deform_attention(*map(torch.from_numpy, inputs.values()))
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    (found,) = exported_gives("Attending", inputs, {}, tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    turned = attention_case([[5, 4], [6, 1], [1, 1]])
    (found,) = run(tmp_path / "end2end.onnx", turned).values()
    np.testing.assert_allclose(found, slow_attention(*turned.values()), atol=1e-5)


def test_deformable_attention_is_mmcvs_own() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from partition_core.sources.mmdet.ops import provide_compiled_ops

        provide_compiled_ops()
        from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
    tensors = [torch.from_numpy(a) for a in attention_case([[4, 5], [2, 3]]).values()]
    theirs = multi_scale_deformable_attn_pytorch(*tensors)
    torch.testing.assert_close(deform_attention(*tensors), theirs, atol=1e-5, rtol=0)


def slow_carafe(features, masks, kernel_size, group_size, scale_factor):  # type: ignore[no-untyped-def]
    count, channels, height, width = features.shape
    made = np.zeros((count, channels, height * scale_factor, width * scale_factor))
    for n, c, y, x in indices(*made.shape):
        group = c // (channels // group_size)
        for i, j in indices(kernel_size, kernel_size):
            row = y // scale_factor + i - kernel_size // 2
            column = x // scale_factor + j - kernel_size // 2
            if 0 <= row < height and 0 <= column < width:
                point = (group * kernel_size + i) * kernel_size + j
                made[n, c, y, x] += features[n, c, row, column] * masks[n, point, y, x]
    return made


@pytest.mark.parametrize(("kernel", "groups", "scale"), [(5, 1, 2), (3, 2, 3), (1, 4, 1)])
def test_carafe(kernel: int, groups: int, scale: int, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    inputs = {
        "features": random.standard_normal((2, 4, 3, 5)).astype(np.float32),
        "masks": random.uniform(0, 1, (2, groups * kernel * kernel, 3 * scale, 5 * scale)).astype(
            np.float32
        ),
    }
    settings = {"kernel_size": kernel, "group_size": groups, "scale_factor": scale}
    expected = slow_carafe(*inputs.values(), **settings)
    ours = op_models.Reassembled(**settings)(*map(torch.from_numpy, inputs.values()))
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    (found,) = exported_gives("Reassembled", inputs, settings, tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_masked_convolution(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    inputs = {
        "features": random.standard_normal((1, 3, 5, 6)).astype(np.float32),
        "mask": random.integers(0, 2, (1, 5, 6)).astype(np.float32),
        "weight": random.standard_normal((2, 3, 3, 3)).astype(np.float32),
        "bias": np.array([5, -5], np.float32),
    }
    exported_gives("Masked", inputs, {}, tmp_path)
    for mask in (inputs["mask"], np.zeros((1, 5, 6)), np.ones((1, 5, 6))):
        expected = np.zeros((1, 2, 5, 6))
        for o, y, x in indices(2, 5, 6):
            if mask[0, y, x] > 0:
                expected[0, o, y, x] = inputs["bias"][o] + sum(
                    inputs["weight"][o, c, i, j]
                    * at(inputs["features"][0, c], y + i - 1, x + j - 1)
                    for c, i, j in indices(3, 3, 3)
                )
        given = {**inputs, "mask": mask.astype(np.float32)}
        (found,) = run(tmp_path / "end2end.onnx", given).values()
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (8, 5)])
def test_corner_pooling_is_mmcvs_own(size: tuple[int, int], tmp_path: Path) -> None:
    from mmcv.ops import CornerPool

    maps = np.random.default_rng(5).standard_normal((2, 3, *size)).astype(np.float32)
    found = exported_gives("Cornered", {"maps": maps}, {}, tmp_path)
    for made, mode in zip(found, CornerPool.cummax_dim_flip, strict=True):
        theirs = CornerPool(mode)(torch.from_numpy(maps))
        np.testing.assert_array_equal(made, theirs)


def test_torch_finds_nothing_wrong_with_the_operators() -> None:
    inputs, settings = deform_case(count=2)
    tensors = tuple(map(torch.from_numpy, inputs.values()))
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(deform_conv, tensors, settings, test_utils=checks)
    attention = tuple(map(torch.from_numpy, attention_case([[4, 5], [2, 3]]).values()))
    torch.library.opcheck(deform_attention, attention, test_utils=checks)


def test_mmcvs_modules_call_them() -> None:
    said = without_mmcvs_ops("""
import warnings
warnings.simplefilter("ignore")
import torch
from partition_core.sources.mmdet.ops import provide_compiled_ops
provide_compiled_ops()
from mmcv.ops import CARAFEPack, DeformConv2dPack, MaskedConv2d, ModulatedDeformConv2dPack
from mmcv.ops.carafe import carafe_naive
torch.manual_seed(0)
x = torch.randn(2, 4, 6, 6)
with torch.no_grad():
    for module in (DeformConv2dPack, ModulatedDeformConv2dPack):
        conv = module(4, 5, 3, stride=2, padding=1, bias=False)
        plain = torch.nn.functional.conv2d(x, conv.weight, None, 2, 1)
        print((conv(x) / plain).mean())
    print(CARAFEPack(4, 2)(x).shape, carafe_naive(x, torch.rand(2, 9, 12, 12), 3, 1, 2).shape)
    print(MaskedConv2d(4, 5, 3, padding=1)(x[:1], torch.zeros(1, 6, 6)).abs().sum())
""")
    # A modulated convolution starts with a mask of a half.
    assert said.splitlines() == [
        "tensor(1.0000)",
        "tensor(0.5000)",
        "torch.Size([2, 4, 12, 12]) torch.Size([2, 4, 12, 12])",
        "tensor(0.)",
    ]
