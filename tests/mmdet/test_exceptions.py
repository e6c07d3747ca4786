"""What is put into single classes of mmdet for a trace, against mmdet's own code."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from partition_core.export.detector import quiet_mmdet
from partition_core.export.mmcv_ops import provide_compiled_ops
from partition_core.export.mmdet_exceptions import (
    EXCEPTIONS,
    complete_mmdet,
    exceptions_while_traced,
    fuse_global_context,
    mask2bbox,
    panoptic_postprocess,
    score_voting,
)


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
