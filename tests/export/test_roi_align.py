"""RoIAlign against loops over its definition, in PyTorch and as exported."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import DynamicAxis, Recipe
from partition_core.sources.mmdet.ops.roi_align import roi_align
from tests.export.op_models import Moved
from tests.export.support import export_with_ops, run, saved, torch_recipe, without_mmcvs_ops

BINS = (3, 2)
SIZE = (2, 3, 9, 12)
EDGES = np.array(
    [
        [0, 0, 0, 0, 0],  # no area
        [1, 10, 10, 10, 30],  # no width
        [0, -90, -90, -40, -40],  # far outside
        [1, 300, 300, 400, 500],
        [0, -3, -5, 100, 90],  # the whole picture and more
        [1, 44, 30, 52, 40],  # over the last cells
        [1, 4, 4, 5, 5],  # smaller than a cell
        [0, 4, 4, 28, 28],  # whole cells
    ],
    np.float32,
)


def value_at(plane: np.ndarray, y: float, x: float) -> float:
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, along = y - top, x - left
    return (
        plane[top, left] * (1 - down) * (1 - along)
        + plane[top, right] * (1 - down) * along
        + plane[bottom, left] * down * (1 - along)
        + plane[bottom, right] * down * along
    )


def slow(  # type: ignore[no-untyped-def]
    maps, rois, spatial_scale, sampling_ratio, mode="avg", aligned=True, offset=None, gamma=0.0
):
    out = np.zeros((len(rois), maps.shape[1], *BINS))
    for k, roi in enumerate(rois):
        half = 0.5 if aligned else 0.0
        x1, y1, x2, y2 = (float(edge) * spatial_scale - half for edge in roi[1:])
        high, wide = y2 - y1, x2 - x1
        if not aligned:
            high, wide = max(high, 1.0), max(wide, 1.0)
        bin_h, bin_w = high / BINS[0], wide / BINS[1]
        rows = sampling_ratio or math.ceil(bin_h)
        columns = sampling_ratio or math.ceil(bin_w)
        for c in range(maps.shape[1]):
            for i in range(BINS[0]):
                for j in range(BINS[1]):
                    right, down = (0, 0) if offset is None else gamma * offset[k, :, i, j]
                    samples = [
                        value_at(
                            maps[int(roi[0]), c],
                            y1 + (i + (a + 0.5) / rows) * bin_h + down * high,
                            x1 + (j + (b + 0.5) / columns) * bin_w + right * wide,
                        )
                        for a in range(rows)
                        for b in range(columns)
                    ]
                    if mode == "avg":
                        out[k, c, i, j] = sum(samples) / max(len(samples), 1)
                    else:
                        out[k, c, i, j] = max([*samples, -10000.0])
    return out


def cases() -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(0)
    found = []
    for count in (0, 1, 12):
        corner = random.uniform(-10, 40, (count, 2))
        size = random.uniform(0, 40, (count, 2))
        index = random.integers(0, 2, (count, 1))
        rois = np.concatenate([index, corner, corner + size], axis=1).astype(np.float32)
        found.append((random.standard_normal(SIZE, dtype=np.float32), rois))
    return [*found, (random.standard_normal(SIZE, dtype=np.float32) - 3, EDGES)]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(
    ("mode", "sampling_ratio"), [("avg", 0), ("avg", 1), ("avg", 2), ("max", 1), ("max", 2)]
)
def test_pytorch_and_the_export_give_what_the_definition_gives(
    mode: str, sampling_ratio: int, aligned: bool, tmp_path: Path
) -> None:
    settings = {
        "spatial_scale": 0.25,
        "sampling_ratio": sampling_ratio,
        "mode": mode,
        "aligned": aligned,
    }
    path = saved(export_with_ops(aligned_recipe(settings)).model, tmp_path)
    for maps, rois in cases():
        expected = slow(maps, rois, **settings)
        ours = roi_align(torch.from_numpy(maps), torch.from_numpy(rois), *BINS, **settings)
        np.testing.assert_allclose(ours, expected, atol=2e-5)
        (found,) = run(path, {"maps": maps, "rois": rois}).values()
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_moved_bins_give_what_the_definition_gives(sampling_ratio: int, tmp_path: Path) -> None:
    settings = {"spatial_scale": 0.25, "sampling_ratio": sampling_ratio}
    recipe = torch_recipe(
        "tests.export.op_models:Moved",
        {"maps": SIZE, "rois": (5, 5), "offset": (5, 2, *BINS)},
        args=tuple((name, json.dumps(value)) for name, value in settings.items()),
        dynamic_axes=(DynamicAxis("rois", 0, "n"), DynamicAxis("offset", 0, "n")),
    )
    path = saved(export_with_ops(of_two_pictures(recipe)).model, tmp_path)
    random = np.random.default_rng(1)
    for maps, rois in cases():
        offset = random.standard_normal((len(rois), 2, *BINS), dtype=np.float32)
        expected = slow(maps, rois, **settings, offset=offset, gamma=0.3)
        given = {"maps": maps, "rois": rois, "offset": offset}
        ours = Moved(**settings)(**{name: torch.from_numpy(one) for name, one in given.items()})
        np.testing.assert_allclose(ours, expected, atol=2e-4)
        (found,) = run(path, given).values()
        np.testing.assert_allclose(found, expected, atol=2e-4)
    assert not np.allclose(expected, slow(maps, rois, **settings), atol=0.1)


def aligned_recipe(settings: dict[str, object]) -> Recipe:
    return of_two_pictures(
        torch_recipe(
            "tests.export.op_models:RoiAligned",
            {"maps": SIZE, "rois": (5, 5)},
            args=tuple((name, json.dumps(value)) for name, value in settings.items()),
            dynamic_axes=(DynamicAxis("rois", 0, "n"),),
        )
    )


def of_two_pictures(recipe: Recipe) -> Recipe:
    """Return the recipe with boxes that begin with the number of a picture that is there."""
    inputs = tuple(
        dataclasses.replace(spec, range=(0.0, SIZE[0] - 0.5)) if spec.name == "rois" else spec
        for spec in recipe.export.inputs
    )
    return dataclasses.replace(recipe, export=dataclasses.replace(recipe.export, inputs=inputs))


def test_the_largest_of_a_number_of_samples_that_the_boxes_decide_is_refused() -> None:
    maps, rois = cases()[-1]
    settings = {"spatial_scale": 0.25, "sampling_ratio": 0, "mode": "max", "aligned": True}
    ours = roi_align(torch.from_numpy(maps), torch.from_numpy(rois), *BINS, **settings)
    np.testing.assert_allclose(ours, slow(maps, rois, **settings), atol=2e-5)
    with pytest.raises(ExportError, match="pool_mode 'max' and sampling_ratio 0 has no form"):
        export_with_ops(aligned_recipe(settings))


def test_torch_finds_nothing_wrong_with_the_operator() -> None:
    maps, rois = map(torch.from_numpy, cases()[-1])
    torch.library.opcheck(
        roi_align,
        (maps, rois, 3, 2, 0.25, 2, "avg", True),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_mmcvs_module_calls_it() -> None:
    said = without_mmcvs_ops("""
import warnings
warnings.simplefilter("ignore")
import torch
from partition_core.sources.mmdet.ops import provide_compiled_ops
provide_compiled_ops()
from mmcv.ops import RoIAlign
from partition_core.sources.mmdet.ops.roi_align import roi_align
from tests.export.test_roi_align import cases
maps, rois = map(torch.from_numpy, cases()[-1])
theirs = RoIAlign((3, 2), 0.25, 2, aligned=False)(maps, rois)
print(torch.equal(theirs, roi_align(maps, rois, 3, 2, 0.25, 2, "avg", False)))
from mmcv.ops import DeformRoIPoolPack
unmoved = DeformRoIPoolPack((3, 2), 3, 8, 0.25, 2)(maps, rois).detach()
print(torch.allclose(unmoved, roi_align(maps, rois, 3, 2, 0.25, 2, "avg", True), atol=1e-4))
""")
    assert said == "True\nTrue\n"
