"""What is put into single classes of mmdet for a trace, against mmdet's own code."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData

from partition_core.recipe.values import DynamicAxis
from partition_core.sources.mmdet.crowds import crowd_predict, kept_in_turn
from partition_core.sources.mmdet.detector import quiet_mmdet
from partition_core.sources.mmdet.exceptions import (
    EXCEPTIONS,
    complete_mmdet,
    exceptions_while_traced,
    fuse_global_context,
    mask2bbox,
    panoptic_postprocess,
    score_voting,
)
from partition_core.sources.mmdet.ops import provide_compiled_ops
from partition_core.sources.mmdet.panoptic import fused
from tests.export.support import export, export_with_ops, run, saved, torch_recipe


@pytest.fixture(scope="module", autouse=True)
def _mmdet() -> None:
    with quiet_mmdet():
        provide_compiled_ops()
        importlib.import_module("mmdet.models")
    complete_mmdet()


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def boxes(count: int, seed: int) -> torch.Tensor:
    corner = torch.rand(count, 2, generator=numbers(seed)) * 40
    return torch.cat([corner, corner + 5 + 30 * torch.rand(count, 2, generator=numbers(-seed))], 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_votes_are_those_of_mmdet(seed: int) -> None:
    from mmdet.models.dense_heads import PAAHead
    from mmdet.models.layers import multiclass_nms

    candidates = boxes(60, seed)
    scores = torch.rand(60, 6, generator=numbers(seed + 9)) * 0.5
    scores[:, -1] = 0
    scores[:, 2] = 0  # a class without a candidate
    with torch.no_grad():
        dets, labels = multiclass_nms(
            candidates, scores, 0.1, {"type": "nms", "iou_threshold": 0.5}, 30
        )
        head: Any = SimpleNamespace(cls_out_channels=5)
        expected, classes = PAAHead.score_voting(head, dets, labels, candidates, scores, 0.1)
        found, ours = score_voting(head, dets, labels, candidates, scores, 0.1)
    assert len(expected) > 10
    assert not torch.allclose(expected[:, :4], dets[:, :4])
    torch.testing.assert_close(ours, classes)
    torch.testing.assert_close(found, expected)


def test_nothing_is_voted_on_where_nothing_was_found() -> None:
    none = torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)
    dets, labels = score_voting(None, *none, boxes(4, 1), torch.zeros(4, 6), 0.1)
    assert (dets.shape, labels.shape) == ((0, 5), (0,))


@pytest.mark.parametrize("count", [0, 1, 7])
def test_boxes_of_masks_are_those_of_mmdet(count: int) -> None:
    from mmdet.structures.mask import mask2bbox as of_mmdet

    masks = torch.rand(count, 9, 13, generator=numbers(4)) > 0.97
    masks[1:2] = False
    torch.testing.assert_close(mask2bbox(masks), of_mmdet(masks))


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("least", [0.1, 0.5, 2.0])
def test_panoptic_maps_are_those_of_mmdet(filtered: bool, least: float) -> None:
    from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead

    config = {"object_mask_thr": least, "iou_thr": 0.4, "filter_low_score": filtered}
    head: Any = SimpleNamespace(num_classes=7, num_things_classes=4, test_cfg=config)
    for seed in range(4):
        classes = torch.randn(12, 8, generator=numbers(seed)) * 4
        coarse = torch.randn(1, 12, 5, 6, generator=numbers(seed + 50)) * 3
        masks = torch.nn.functional.interpolate(coarse, scale_factor=8)[0]
        expected = MaskFormerFusionHead.panoptic_postprocess(head, classes, masks).sem_seg
        found = panoptic_postprocess(head, classes, masks).sem_seg
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected)
        if least < 1:
            assert (expected >= 1000).any()
        else:  # above any probability: no query is kept
            assert (expected == 7).all()


class Fused(torch.nn.Module):
    """The map of 12 queries of 7 classes."""

    head: Any = SimpleNamespace(
        num_classes=7, num_things_classes=4, test_cfg={"object_mask_thr": 0.1, "iou_thr": 0.0}
    )

    def forward(self, classes: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = panoptic_postprocess(self.head, classes, masks).sem_seg
        return found


def test_the_likeliest_of_masks_that_are_all_nearly_nothing_wins_in_onnxruntime(
    tmp_path: Path,
) -> None:
    from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead

    recipe = torch_recipe(
        "tests.mmdet.test_exceptions:Fused", {"classes": (12, 8), "masks": (12, 40, 48)}
    )
    path = saved(export(recipe).model, tmp_path)
    classes = torch.randn(12, 8, generator=numbers(0)) * 4
    masks = torch.randn(12, 40, 48, generator=numbers(1)) * 4 - 35
    masks[:, :4] += 40  # each query has a part of its own, or it would be left out
    expected = MaskFormerFusionHead.panoptic_postprocess(Fused.head, classes, masks).sem_seg
    (found,) = run(path, {"classes": classes.numpy(), "masks": masks.numpy()}).values()
    assert len(expected[:, 4:].unique()) > 5
    assert (torch.from_numpy(found) == expected).float().mean() > 0.999


def laid_out(count: int, seed: int) -> tuple[Any, torch.Tensor]:
    """Return detections whose masks lie on each other, and logits of 5 kinds of stuff."""
    coarse = torch.randn(1, count or 1, 6, 7, generator=numbers(seed)) - 0.4
    masks = torch.nn.functional.interpolate(coarse, scale_factor=4)[0][:count] > 0
    masks[1:2] = False  # one that holds nothing
    scores = torch.rand(count, generator=numbers(seed + 1)).sort(descending=True).values
    labels = torch.randint(0, 4, (count,), generator=numbers(seed + 2))
    found = InstanceData(bboxes=boxes(count, seed), scores=scores, labels=labels, masks=masks)
    stuff = torch.randn(1, 5, 3, 4, generator=numbers(seed + 3))
    return found, torch.nn.functional.interpolate(stuff, size=(24, 28))[0]


@pytest.mark.parametrize(("count", "overlap"), [(12, 0.5), (12, 0.1), (1, 0.5), (0, 0.5)])
def test_maps_laid_out_of_detections_are_those_of_mmdet(count: int, overlap: float) -> None:
    from mmdet.models.seg_heads.panoptic_fusion_heads import HeuristicFusionHead

    config = SimpleNamespace(mask_overlap=overlap, stuff_area_limit=90)
    head: Any = SimpleNamespace(
        num_classes=9, num_things_classes=4, num_stuff_classes=5, test_cfg=config
    )
    most, hidden = 0, False
    for seed in range(4):
        found, stuff = laid_out(count, seed)
        head._lay_masks = functools.partial(HeuristicFusionHead._lay_masks, head)
        expected = HeuristicFusionHead._predict_single(head, found, stuff).sem_seg
        ours = fused(head, found, stuff).sem_seg
        assert ours.dtype == expected.dtype
        torch.testing.assert_close(ours, expected)
        most = max(most, int(expected.max()) // 1000)
        hidden |= bool((expected == 9).any())
    assert most == (count if count < 2 else 2 if overlap < 0.2 else 3)
    assert hidden


@pytest.mark.parametrize("agnostic", [True, False])
def test_pasted_masks_are_those_of_mmdet(agnostic: bool) -> None:
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead

    from partition_core.sources.mmdet.masks import pasted

    head: Any = SimpleNamespace(class_agnostic=agnostic)
    told = {"scale_factor": (1.0, 1.0), "ori_shape": (50, 60)}
    config = SimpleNamespace(mask_thr_binary=0.4)
    own = boxes(9, 3) - 4  # some reach out of the picture
    own[0] = torch.tensor([12.5, 9.5, 12.5, 9.5])  # one has no area
    labels = torch.randint(0, 3, (9,), generator=numbers(5))
    maps = torch.randn(9, 1 if agnostic else 3, 8, 8, generator=numbers(6)) * 2
    expected = FCNMaskHead._predict_by_feat_single(head, maps, own, labels, told, config)
    assert expected.flatten(1).any(dim=1).sum() >= 7
    torch.testing.assert_close(pasted(head, maps, own, labels, told, config), expected)


def crowd(count: int, seed: int) -> tuple[Any, ...]:
    """Return regions (N, 5) in heaps, and what a head gives for two boxes of each."""
    heaps = boxes(max(count // 6, 1), seed).repeat(6, 1)[:count]
    found = heaps + torch.randn(len(heaps), 4, generator=numbers(seed)) * 2
    regions = torch.cat([torch.zeros(len(found), 1), found[:count]], dim=1)
    scores = torch.randn(count, 4, generator=numbers(seed + 1)) * 2
    return regions, scores, torch.randn(count, 8, generator=numbers(seed + 2)) * 0.3


@functools.cache
def crowd_head() -> Any:
    from mmdet.models.roi_heads.bbox_heads import MultiInstanceBBoxHead

    # The loss of the configs, which the head reads.
    return MultiInstanceBBoxHead(num_classes=1, in_channels=2, fc_out_channels=2, with_refine=False)


CROWDED = SimpleNamespace(score_thr=0.1, nms={"iou_threshold": 0.3}, max_per_img=25)
CROWD_META = {"img_shape": (60, 80), "scale_factor": (1.0, 1.0)}


@pytest.mark.parametrize("count", [0, 1, 60])
def test_boxes_of_a_crowd_are_those_of_mmdet(count: int) -> None:
    head, told = crowd_head(), (CROWD_META, False, CROWDED)
    for seed in range(4):
        given = crowd(count, seed)
        found = crowd_predict(head, *given, *told)
        expected = head._predict_by_feat_single(*given, *told)
        assert len(expected) == len(found)
        assert (5 if count == 60 else 0) <= len(expected) <= min(2 * count, 25)
        for name in ("bboxes", "scores"):
            assert torch.equal(getattr(found, name), getattr(expected, name).to(found[name].dtype))


class InTurn(torch.nn.Module):
    """Which candidates are kept where some remove others."""

    def forward(self, removes: torch.Tensor) -> torch.Tensor:
        kept: torch.Tensor = kept_in_turn(removes)
        return kept


def test_candidates_are_removed_in_turn_in_onnxruntime(tmp_path: Path) -> None:
    axes = tuple(DynamicAxis("removes", axis, "rows") for axis in (0, 1))
    recipe = torch_recipe(
        "tests.mmdet.test_exceptions:InTurn", {"removes": ((9, 9), "bool")}, dynamic_axes=axes
    )
    path = saved(export_with_ops(recipe).model, tmp_path)
    for count in (0, 1, 9, 30):
        removes = (torch.rand(count, count, generator=numbers(count)) > 0.8).triu(1)
        (found,) = run(path, {"removes": removes.numpy()}).values()
        assert torch.equal(torch.from_numpy(found), kept_in_turn(removes))
    assert 0 < found.sum() < 20
    assert found[0]


def test_every_exception_has_its_place_and_leaves_no_trace() -> None:
    from mmdet.models.dense_heads import PAAHead, SSDHead

    own = PAAHead.score_voting
    with exceptions_while_traced():
        assert PAAHead.score_voting is score_voting
    assert PAAHead.score_voting is own
    assert SSDHead.loss_cls is None
    assert len(EXCEPTIONS) < 10


def test_each_box_gets_the_context_of_its_own_picture() -> None:
    from mmdet.models.roi_heads import SCNetRoIHead

    head: Any = SimpleNamespace()
    context = torch.rand(3, 4, 1, 1, generator=numbers(1))
    for pictures in ([2, 0, 2, 1], [1, 1], [0], []):  # in any order, some without a box, none
        rois = torch.cat(
            [torch.tensor(pictures).reshape(-1, 1).float(), boxes(len(pictures), 3)], 1
        )
        features = torch.rand(len(pictures), 4, 7, 7, generator=numbers(2))
        expected = SCNetRoIHead._fuse_glbctx(head, features, context, rois)
        torch.testing.assert_close(fuse_global_context(head, features, context, rois), expected)
