"""The choice of masks for a panoptic map, in PyTorch and as exported, against its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from partition_core.recipe.values import DynamicAxis
from partition_core.sources.mmdet.panoptic import accepted_masks
from tests.export.support import export_with_ops, run, saved, torch_recipe


def chosen(masks: np.ndarray, overlap: float) -> list[int]:
    covered: set[tuple[int, int]] = set()
    kept = []
    for mask in masks:
        cells = set(zip(*np.nonzero(mask), strict=True))
        takes = bool(cells) and len(cells & covered) <= overlap * len(cells)
        covered |= cells if takes else set()
        kept.append(int(takes))
    return kept


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.75])
def test_pytorch_and_the_export_choose_what_the_definition_chooses(
    overlap: float, tmp_path: Path
) -> None:
    recipe = torch_recipe(
        "tests.export.op_models:LaidMasks",
        {"masks": (5, 6, 7)},
        args=(("overlap", str(overlap)),),
        dynamic_axes=(DynamicAxis("masks", 0, "n"),),
    )
    path = saved(export_with_ops(recipe).model, tmp_path)
    seen = set()
    for seed, count in enumerate((0, 1, 2, 9, 30)):
        source = np.random.default_rng(seed)
        masks = (source.random((count, 6, 7)) < source.random((count, 1, 1)) * 0.6).astype("f4")
        masks[3:4] = 0
        expected = chosen(masks, overlap)
        assert accepted_masks(torch.from_numpy(masks) > 0, overlap).long().tolist() == expected
        (found,) = run(path, {"masks": masks}).values()
        assert found.tolist() == expected
        seen |= set(expected)
    assert seen == {0, 1}
