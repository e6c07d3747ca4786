"""Which masks of two runs count as equal."""

from __future__ import annotations

import numpy as np
import pytest

from partition_core.proof.comparison import mask_difference, unequal_masks

TOLERANCE = 1e-4


def probabilities() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (3, 28, 28)).astype(np.float32)


def truths() -> np.ndarray:
    masks = np.zeros((3, 64, 64), bool)
    masks[:, 10:40, 20:50] = True
    return masks


def test_rounding_is_no_difference() -> None:
    masks = probabilities()
    noise = np.random.default_rng(1).normal(0, 3e-5, masks.shape).astype(np.float32)
    assert unequal_masks(masks, masks + noise, TOLERANCE) == 0
    assert 1e-5 < mask_difference(masks, masks + noise) < 1e-4


def changed(masks: np.ndarray, how: str) -> np.ndarray:
    masks = masks.copy()
    if how == "rolled":
        masks[1] = np.roll(masks[1], 1, axis=1)
    elif how == "scaled":
        masks[1] = masks[1] * np.float32(0.999)
    elif how == "one cell":
        masks[1, 5, 5] += 0.05
    elif how == "no number":
        masks[1, 5, 5] = np.nan
    elif how == "another detection's":
        masks[1] = masks[0]
    return masks


@pytest.mark.parametrize(
    "how", ["rolled", "scaled", "one cell", "no number", "another detection's"]
)
def test_another_probability_is_a_difference(how: str) -> None:
    assert unequal_masks(probabilities(), changed(probabilities(), how), TOLERANCE) == 1


def test_one_cell_in_a_thousand_of_a_large_mask_may_have_been_computed_otherwise() -> None:
    masks = np.random.default_rng(0).uniform(0, 1, (1, 100, 100)).astype(np.float32)
    other = masks.copy()
    other[0, 50, :10] += 0.05
    assert unequal_masks(masks, other, TOLERANCE) == 0
    other[0, 50, 10] += 0.05
    assert unequal_masks(masks, other, TOLERANCE) == 1
    other[0, 50, :11] = masks[0, 50, :11]
    other[0, 50, :10] += 0.5
    assert unequal_masks(masks, other, TOLERANCE) == 1


def test_cells_at_the_threshold_may_fall_on_either_side() -> None:
    masks, other = truths(), truths()
    other[0, 10, 20:29] = False
    assert unequal_masks(masks, other, TOLERANCE) == 0
    other[0, 11, 20:29] = False
    assert unequal_masks(masks, other, TOLERANCE) == 1


def test_truths_moved_by_a_cell_are_different() -> None:
    assert unequal_masks(truths(), np.roll(truths(), 1, axis=2), TOLERANCE) == 3


def test_a_small_mask_is_not_lost_in_an_empty_picture() -> None:
    masks, other = np.zeros((1, 64, 64), bool), np.zeros((1, 64, 64), bool)
    masks[0, 3, 3:5] = True
    assert unequal_masks(masks, other, TOLERANCE) == 1


def test_no_masks_are_equal() -> None:
    assert unequal_masks(np.zeros((0, 28, 28)), np.zeros((0, 28, 28)), TOLERANCE) == 0
    assert mask_difference(np.zeros((0, 28, 28)), np.zeros((0, 28, 28))) == 0.0
