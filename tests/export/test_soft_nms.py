"""Soft suppression against a loop over its definition, in PyTorch and as exported."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from partition_core.recipe.values import DynamicAxis
from partition_core.sources.mmdet.ops.soft_nms import soft_nms
from tests.export.boxes import EDGES, Boxes, edge, random_boxes
from tests.export.support import export_with_ops, run, saved, torch_recipe, without_mmcvs_ops

SETTINGS = {"iou_threshold": 0.3, "sigma": 0.5, "min_score": 0.05, "offset": 0}


def slow(  # type: ignore[no-untyped-def]
    boxes: Boxes, scores: Boxes, iou_threshold, sigma, min_score, method, offset
) -> tuple[list[int], list[float]]:
    left = {index: float(score) for index, score in enumerate(scores)}
    kept, then = [], []
    while left:
        best = max(left, key=lambda index: (left[index], -index))
        kept.append(best)
        then.append(left.pop(best))
        for other in list(left):
            a, b, c, d = boxes[best].astype(float)
            e, f, g, h = boxes[other].astype(float)
            width = max(min(c, g) - max(a, e) + offset, 0)
            height = max(min(d, h) - max(b, f) + offset, 0)
            shared = width * height
            areas = (c - a + offset) * (d - b + offset) + (g - e + offset) * (h - f + offset)
            iou = shared / (areas - shared) if areas > shared else 0.0
            if method == 2:
                left[other] *= math.exp(-(iou**2) / sigma)
            elif iou >= iou_threshold:
                left[other] *= 1 - iou if method == 1 else 0.0
            if left[other] < min_score:
                del left[other]
    return kept, then


@pytest.mark.parametrize(("method", "offset"), [(0, 0), (1, 0), (1, 1), (2, 0)])
def test_pytorch_and_the_export_take_what_the_definition_takes(
    method: int, offset: int, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "method": method, "offset": offset}
    recipe = torch_recipe(
        "tests.export.op_models:SoftSuppressed",
        {"boxes": (6, 4), "scores": (6,)},
        args=tuple((name, json.dumps(value)) for name, value in settings.items()),
        dynamic_axes=(DynamicAxis("boxes", 0, "n"), DynamicAxis("scores", 0, "n")),
    )
    path = saved(export_with_ops(recipe).model, tmp_path)
    cases = [random_boxes(seed, count) for seed in range(3) for count in (0, 1, 2, 40)]
    # Two boxes of no area divide 0 by 0, for which mmcv's definition says nothing.
    cases += [edge(name) for name in EDGES if not name.startswith("zero")]
    lowered = 0
    for boxes, scores in cases:
        kept, then = slow(boxes, scores, **settings)
        dets, ours = soft_nms(torch.from_numpy(boxes), torch.from_numpy(scores), **settings)
        assert ours.tolist() == kept
        np.testing.assert_allclose(dets[:, 4], then, atol=1e-6)
        np.testing.assert_array_equal(dets[:, :4], boxes[kept])
        found = run(path, {"boxes": boxes, "scores": scores})
        assert found["kept"].tolist() == kept
        np.testing.assert_allclose(found["dets"], dets, atol=1e-6)
        lowered += int((np.array(then) < scores[kept] - 1e-3).sum()) + len(boxes) - len(kept)
    assert lowered > 30


def test_mmcvs_batched_suppression_calls_it() -> None:
    said = without_mmcvs_ops("""
import warnings
warnings.simplefilter("ignore")
import torch
from partition_core.sources.mmdet.ops import provide_compiled_ops
provide_compiled_ops()
from mmcv.ops import batched_nms
from tests.export.boxes import random_boxes
from tests.export.test_soft_nms import slow
boxes, scores = random_boxes(0, 30)
dets, kept = batched_nms(
    torch.from_numpy(boxes), torch.from_numpy(scores), torch.zeros(30, dtype=torch.int64),
    {"type": "soft_nms", "iou_threshold": 0.3, "min_score": 0.05},
)
expected, then = slow(boxes, scores, 0.3, 0.5, 0.05, 1, 0)
print(kept.tolist() == expected, float((dets[:, 4] - torch.tensor(then)).abs().max()) < 1e-6)
""")
    assert said == "True True\n"
