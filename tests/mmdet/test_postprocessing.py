"""The exported post-processing on crafted maps, against mmdet's own `predict_by_feat`."""

from __future__ import annotations

import numpy as np
import pytest

from .detectors import SIZE, Built, mmdet_postprocesses

SIDES = (SIZE // 32, SIZE // 16, SIZE // 8)
ATTRIBUTES = 85
OFF = -20.0
Spot = tuple[int, int, int, int, int, float]
"""Level, anchor, row, column, class and class score (as a logit) of one detection."""


def maps_with(spots: list[Spot], pictures: int = 1) -> list[np.ndarray]:
    """Return maps that detect nothing but `spots`, all in the first picture."""
    maps = [np.full((pictures, 3, ATTRIBUTES, side, side), OFF, np.float32) for side in SIDES]
    for level, anchor, row, column, kind, logit in spots:
        cell = maps[level][0, anchor, :, row, column]
        cell[:4] = (0.3, -0.2, -3.0, -3.0)
        cell[4] = 12.0
        cell[5 + kind] = logit
    return [one.reshape(pictures, 3 * ATTRIBUTES, *one.shape[-2:]) for one in maps]


def spread(count: int, kinds: int = 80) -> list[Spot]:
    """Return detections of small boxes far apart, with scores that all differ."""
    logits = np.linspace(3.0, -2.0, count)
    return [
        (2, 0, index // SIDES[2], index % SIDES[2], index * 7 % kinds, float(logits[index]))
        for index in range(count)
    ]


def random_maps(seed: int, pictures: int = 1, shift: float = 0.0) -> list[np.ndarray]:
    """Return maps like those of a trained detector: few objects, boxes near their anchors."""
    random = np.random.default_rng(seed)
    mean = np.array([0, 0, 0, 0, -3.0 + shift, *[-3.0 + shift] * 80]).reshape(1, 1, -1, 1, 1)
    std = np.array([1, 1, 0.5, 0.5, 2.0, *[1.5] * 80]).reshape(1, 1, -1, 1, 1)
    maps = []
    for side in SIDES:
        drawn = mean + std * random.standard_normal((pictures, 3, ATTRIBUTES, side, side))
        maps.append(drawn.reshape(pictures, -1, side, side).astype(np.float32))
    return maps


def compare(built: Built, maps: list[np.ndarray]) -> list[int]:
    """Assert equality, element by element, and return how many detections each picture has."""
    found = built.postprocess(maps)
    expected = mmdet_postprocesses(built, maps)
    counts = [len(labels) for _, labels in expected]
    longest = max(counts)
    assert found["dets"].shape == (len(expected), longest, 5)
    assert found["labels"].shape == (len(expected), longest)
    assert found["labels"].dtype == np.int64
    for picture, (dets, labels) in enumerate(expected):
        count = len(labels)
        np.testing.assert_array_equal(found["labels"][picture, :count], labels)
        np.testing.assert_allclose(found["dets"][picture, :count], dets, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(found["dets"][picture, :count, 4], dets[:, 4], rtol=1e-5)
        assert (found["labels"][picture, count:] == -1).all()
        assert (found["dets"][picture, count:] == 0).all()
    return counts


def test_maps_without_an_object_give_no_detection(yolo: Built) -> None:
    assert compare(yolo, maps_with([])) == [0]
    found = yolo.postprocess(maps_with([]))
    assert found["dets"].shape == (1, 0, 5)


def test_a_class_without_an_object_gives_no_detection(yolo: Built) -> None:
    # It passes the filter by objectness and fails the one by score.
    assert compare(yolo, maps_with([(1, 1, 4, 5, 3, -4.0)])) == [0]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_one_object_on_any_level_gives_one_detection(yolo: Built, level: int) -> None:
    maps = maps_with([(level, 2, 4, 3, 17, 2.0)])
    assert compare(yolo, maps) == [1]
    assert yolo.postprocess(maps)["labels"].tolist() == [[17]]


@pytest.mark.parametrize(
    ("given", "kept"), [(2, 2), (99, 99), (100, 100), (101, 100), (300, 100), (390, 100)]
)
def test_at_most_max_per_img_detections_survive(yolo: Built, given: int, kept: int) -> None:
    assert yolo.head.test_cfg.max_per_img == 100
    assert yolo.head.test_cfg.nms_pre == 300
    assert compare(yolo, maps_with(spread(given))) == [kept]


def test_boxes_of_one_class_suppress_each_other_and_those_of_others_do_not(yolo: Built) -> None:
    def overlapping(kinds: list[int]) -> list[np.ndarray]:
        spots = [(2, 0, 7, 7 + i, kind, 2.0 - 0.3 * i) for i, kind in enumerate(kinds)]
        maps = maps_with(spots)
        for one in maps:
            one.reshape(3, ATTRIBUTES, *one.shape[-2:])[:, 2:4] = 2.0
        return maps

    assert compare(yolo, overlapping([5, 5, 5])) == [1]
    assert compare(yolo, overlapping([5, 6, 5])) == [2]
    assert compare(yolo, overlapping([5, 6, 7])) == [3]


def test_one_cell_may_give_several_classes(yolo: Built) -> None:
    maps = maps_with([(0, 0, 3, 3, 10, 2.0)])
    maps[0].reshape(3, ATTRIBUTES, 5, 5)[0, 5 + 60, 3, 3] = 1.0
    assert compare(yolo, maps) == [2]
    assert yolo.postprocess(maps)["labels"].tolist() == [[10, 60]]


@pytest.mark.parametrize("seed", range(6))
def test_maps_like_those_of_a_trained_detector_give_the_same_detections(
    yolo: Built, seed: int
) -> None:
    (count,) = compare(yolo, random_maps(seed, shift=-1.0))
    assert count > 5


def test_boxes_outside_of_the_picture_are_not_clipped(yolo: Built) -> None:
    maps = maps_with([(0, 2, 0, 0, 1, 2.0), (0, 2, 4, 4, 1, 1.0)])
    maps[0].reshape(3, ATTRIBUTES, 5, 5)[2, 2:4] = 0.5
    compare(yolo, maps)
    boxes = yolo.postprocess(maps)["dets"][0]
    assert boxes[:, :2].min() < 0
    assert boxes[:, 2:4].max() > SIZE


COUNTS = [(0, 0), (0, 3), (3, 0), (1, 1), (2, 5), (30, 4), (4, 30), (30, 30)]


@pytest.mark.parametrize(("first", "second"), COUNTS)
def test_a_batch_is_padded_and_each_picture_is_as_alone(
    pair: Built, first: int, second: int
) -> None:
    alone = [maps_with(spread(first)), maps_with(spread(second, kinds=13))]
    batch = [np.concatenate(level) for level in zip(*alone, strict=True)]
    assert compare(pair, batch) == [min(first, 20), min(second, 20)]
    found = pair.postprocess(batch)
    for picture, maps in enumerate(alone):
        dets, labels = mmdet_postprocesses(pair, maps)[0]
        np.testing.assert_array_equal(found["labels"][picture, : len(labels)], labels)
        np.testing.assert_allclose(found["dets"][picture, : len(labels)], dets, atol=1e-3)


def test_random_maps_of_two_pictures_do_not_mix(pair: Built) -> None:
    one, other = random_maps(1, shift=-1.0), random_maps(2, shift=-1.0)
    forth = pair.postprocess([np.concatenate(level) for level in zip(one, other, strict=True)])
    back = pair.postprocess([np.concatenate(level) for level in zip(other, one, strict=True)])
    for name in ("dets", "labels"):
        np.testing.assert_array_equal(forth[name], back[name][::-1])
    assert (forth["labels"][0] != forth["labels"][1]).any()
