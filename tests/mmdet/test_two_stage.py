"""A two-stage detector with masks against mmdet, also where nothing, or too much, is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from .two_stage import SIDE, Arrays, MaskRcnn, build

KINDS = 7
LIMIT = 20
FAR = 100.0


@pytest.fixture(scope="module")
def mask_rcnn(tmp_path_factory: pytest.TempPathFactory) -> MaskRcnn:
    return build(tmp_path_factory.mktemp("mask-rcnn"))


def equal(found: Arrays, expected: Arrays, count: int) -> None:
    """Assert the same detections, in the same order, and how many they are."""
    assert {name: array.dtype for name, array in found.items()} == {
        name: array.dtype for name, array in expected.items()
    }
    assert found["dets"].shape == expected["dets"].shape == (1, count, 5)
    assert found["masks"].shape == expected["masks"].shape == (1, count, 28, 28)
    np.testing.assert_array_equal(found["labels"], expected["labels"])
    np.testing.assert_allclose(found["dets"][..., :4], expected["dets"][..., :4], atol=5e-3)
    np.testing.assert_allclose(found["dets"][..., 4], expected["dets"][..., 4], atol=1e-4)
    np.testing.assert_allclose(found["masks"], expected["masks"], atol=1e-3)


def no_region(maps: Arrays) -> Arrays:
    """Move every region out of the picture, where its size becomes 0."""
    for name in maps:
        if name.startswith("bbox_preds"):
            maps[name][:, 0::4] = FAR
    return maps


def regions(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return regions far apart, and a head that sees nothing in them and does not move them."""
    corner = np.stack([np.arange(count) % 8 * 16.0, np.arange(count) // 8 * 16.0], axis=1)
    rois = np.concatenate([np.zeros((count, 1)), corner, corner + 14], axis=1)
    scores = np.zeros((count, KINDS + 1))
    scores[:, KINDS] = 20.0
    boxes = np.zeros((count, 4 * KINDS))
    return tuple(array.astype(np.float32) for array in (rois, scores, boxes))  # type: ignore[return-value]


def from_both(
    model: MaskRcnn, rois: np.ndarray, scores: np.ndarray, boxes: np.ndarray
) -> tuple[Arrays, Arrays]:
    given = {"rois.0": rois, "cls_scores.0": scores, "bbox_preds.0": boxes}
    return model.exported("from_boxes.onnx", **given), model.from_boxes(rois, scores, boxes)


def test_both_pictures_give_many_detections_with_scores_of_their_own(mask_rcnn: MaskRcnn) -> None:
    for picture in (0, 1):
        scores = mask_rcnn.recording.samples[picture].outputs["dets"][0, :, 4]
        labels = mask_rcnn.recording.samples[picture].outputs["labels"]
        assert len(np.unique(scores)) == LIMIT
        assert scores.max() > 0.5
        assert len(np.unique(labels)) >= 4
        assert mask_rcnn.recording.samples[picture].outputs["masks"].std() > 0.05


def test_what_mmdet_pastes_are_these_masks(mask_rcnn: MaskRcnn) -> None:
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
    from mmdet.structures import DetDataSample

    from .two_stage import META

    picture = torch.from_numpy(mask_rcnn.recording.samples[0].inputs["input"])
    own = mask_rcnn.subject.user_module
    (sample,) = own.predict(picture, [DetDataSample(metainfo=META)], rescale=False)  # type: ignore[operator]
    theirs = sample.pred_instances
    dets = torch.from_numpy(mask_rcnn.recording.samples[0].outputs["dets"][0])
    torch.testing.assert_close(theirs.bboxes, dets[:, :4])
    torch.testing.assert_close(theirs.scores, dets[:, 4])
    masks = torch.from_numpy(mask_rcnn.recording.samples[0].outputs["masks"][0])
    pasted, _ = _do_paste_mask(masks[:, None], dets[:, :4], SIDE, SIDE, skip_empty=False)
    assert theirs.masks.dtype == torch.bool
    assert theirs.masks.any()
    assert ((pasted >= 0.5) != theirs.masks).sum() <= 2


def test_the_region_proposals_of_a_picture(mask_rcnn: MaskRcnn) -> None:
    maps = mask_rcnn.maps()
    expected = mask_rcnn.from_rpn(maps)
    equal(mask_rcnn.exported("from_rpn.onnx", **maps), expected, LIMIT)


def test_no_region_proposal(mask_rcnn: MaskRcnn) -> None:
    maps = no_region(mask_rcnn.maps())
    equal(mask_rcnn.exported("from_rpn.onnx", **maps), mask_rcnn.from_rpn(maps), 0)


def test_one_region_proposal(mask_rcnn: MaskRcnn) -> None:
    maps = no_region(mask_rcnn.maps())
    maps["bbox_preds.1"][0, 4:8, 8, 8] = 0
    maps["cls_scores.1"][0, 1, 8, 8] = 9
    found, expected = mask_rcnn.exported("from_rpn.onnx", **maps), mask_rcnn.from_rpn(maps)
    equal(found, expected, expected["dets"].shape[1])
    assert 1 <= expected["dets"].shape[1] <= KINDS


@pytest.mark.parametrize("count", [0, 1, 40])
def test_no_detection_in_any_number_of_regions(mask_rcnn: MaskRcnn, count: int) -> None:
    equal(*from_both(mask_rcnn, *regions(count)), 0)


@pytest.mark.parametrize("count", [1, 40])
def test_one_detection(mask_rcnn: MaskRcnn, count: int) -> None:
    rois, scores, boxes = regions(count)
    scores[count // 2, 3] = 22.0
    found, expected = from_both(mask_rcnn, rois, scores, boxes)
    equal(found, expected, 1)
    assert found["labels"].tolist() == [[3]]


@pytest.mark.parametrize("count", [LIMIT, LIMIT + 1, 60])
def test_as_many_detections_as_the_limit_and_more(mask_rcnn: MaskRcnn, count: int) -> None:
    rois, scores, boxes = regions(count)
    scores[np.arange(count), np.arange(count) % KINDS] = 20 + np.linspace(-1, 2, count)
    equal(*from_both(mask_rcnn, rois, scores, boxes), LIMIT)


def test_one_region_of_many_classes_and_boxes_that_suppress_each_other(mask_rcnn: MaskRcnn) -> None:
    rois, scores, boxes = regions(40)
    rois[:] = rois[9]
    rois[:, 1] += np.arange(40) / 40
    scores[:, :3] = 19 + np.linspace(0, 1, 120).reshape(40, 3)
    equal(*from_both(mask_rcnn, rois, scores, boxes), 3)


def test_a_detection_at_the_threshold_of_the_score_is_none(mask_rcnn: MaskRcnn) -> None:
    rois, scores, boxes = regions(3)
    for index, probability in enumerate((0.0499, 0.0501, 0.5)):
        scores[index] = -50
        scores[index, KINDS] = np.log1p(-probability)
        scores[index, 2] = np.log(probability)
    equal(*from_both(mask_rcnn, rois, scores, boxes), 2)
