"""What counts as the same array and as the same detections."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from partition_core.proof.comparison import (
    Detections,
    Match,
    agrees,
    largest_difference,
    magnitude,
    match_detections,
    same_bits,
    why_meaningless,
)

SIZE = 320.0
TOLERANCE = 1e-4
Seeds = st.integers(0, 2**32 - 1)


def detections(seed: int, count: int = 20, gap: float = 1e-3) -> Detections:
    """Detections of disjoint boxes whose scores are at least `gap` apart, best first."""
    rng = np.random.default_rng(seed)
    corners = rng.permutation(64)[:count]
    low = np.stack([corners % 8, corners // 8], axis=1) * 40.0 + rng.uniform(0, 10, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(10, 25, (count, 2))], axis=1)
    boxes[0] = (300, 300, SIZE, SIZE)
    scores = 0.9 - np.cumsum(rng.uniform(gap, 2 * gap, count))
    return Detections(boxes, scores, rng.integers(0, 80, count))


def rows(given: Detections, order: object) -> Detections:
    return Detections(given.boxes[order], given.scores[order], given.labels[order])


def with_scores(given: Detections, scores: np.ndarray) -> Detections:
    return Detections(given.boxes, scores, given.labels)


def with_boxes(given: Detections, boxes: np.ndarray) -> Detections:
    return Detections(boxes, given.scores, given.labels)


def changed(array: np.ndarray, place: object, value: object) -> np.ndarray:
    other = array.copy()
    other[place] = value
    return other


def matched(left: Detections, right: Detections, limit: int | None = None) -> Match:
    return match_detections(left, right, TOLERANCE, len(left) if limit is None else limit)


def swapped(count: int, one: int, other: int) -> list[int]:
    order = list(range(count))
    order[one], order[other] = other, one
    return order


def moved_away(given: Detections, place: int) -> Detections:
    """The same, with another object of another place instead of the one at `place`."""
    taken = {(int(x // 40), int(y // 40)) for x, y in given.boxes[:, :2]}
    column, row = next((x, y) for x in range(7) for y in range(7) if (x, y) not in taken)
    box = np.array([column, row, column, row]) * 40.0 + (5, 5, 25, 25)
    return with_boxes(given, changed(given.boxes, place, box))


@given(Seeds, st.integers(0, 60))
def test_detections_match_themselves(seed: int, count: int) -> None:
    given = detections(seed, max(count, 1))
    given = rows(given, slice(0, count))
    match = matched(given, given)
    assert match.holds
    assert (match.pairs, match.moved, match.cut) == (count, 0, 0)
    assert (match.box_difference, match.score_difference) == (0.0, 0.0)


@given(Seeds)
def test_noise_that_turns_near_ties_round_is_accepted_and_measured(seed: int) -> None:
    left = detections(seed, 40, gap=1e-6)
    rng = np.random.default_rng(seed)
    noisy = with_scores(left, left.scores + rng.uniform(-4e-5, 4e-5, 40))
    noisy = with_boxes(noisy, left.boxes + rng.uniform(-0.01, 0.01, (40, 4)))
    order = np.argsort(-noisy.scores)
    match = matched(left, rows(noisy, order))
    assert match.holds
    assert match.pairs == 40
    assert match.moved == (order != np.arange(40)).sum() > 0
    assert match.score_difference == np.abs(noisy.scores - left.scores).max()
    assert match.box_difference == np.abs(noisy.boxes - left.boxes).max()


@given(Seeds, st.integers(0, 19), st.integers(0, 19))
def test_equal_scores_may_swap_and_others_may_not(seed: int, one: int, other: int) -> None:
    assume(one != other)
    left = detections(seed)
    order = swapped(20, one, other)
    match = matched(left, rows(left, order))
    assert not match.holds
    assert match.different >= 2
    level = with_scores(left, np.full(20, 0.5))
    assert matched(level, rows(level, order)).holds


@given(Seeds, st.floats(1e-9, 4e-5), st.integers(0, 18))
def test_a_gap_that_the_measured_noise_does_not_explain_is_no_tie(
    seed: int, noise: float, place: int
) -> None:
    left = detections(seed, gap=1e-3)
    gap = 2 * noise
    near = with_scores(left, changed(left.scores, place + 1, left.scores[place] - gap))
    near = rows(near, np.argsort(-near.scores, kind="stable"))
    place = int(np.argmin(-np.diff(near.scores)))
    order = swapped(20, place, place + 1)
    assert not matched(near, rows(near, order)).holds
    sign = np.where(np.arange(20) == place, -1.001, 1.001)
    assert matched(near, rows(with_scores(near, near.scores + sign * noise), order)).holds


@given(Seeds, st.integers(0, 19), st.integers(0, 3), st.floats(1.01, 1e4), st.booleans())
def test_one_coordinate_beyond_the_tolerance_is_refused(
    seed: int, place: int, axis: int, times: float, less: bool
) -> None:
    left = detections(seed)
    step = times * TOLERANCE * SIZE * (-1 if less else 1)
    right = with_boxes(left, changed(left.boxes, (place, axis), left.boxes[place, axis] + step))
    assert not matched(left, right).holds


@given(Seeds, st.integers(0, 19), st.floats(1.01, 1e3))
def test_one_score_beyond_the_tolerance_is_refused(seed: int, place: int, times: float) -> None:
    left = detections(seed)
    step = times * TOLERANCE * left.scores[0]
    right = with_scores(left, changed(left.scores, place, left.scores[place] - step))
    assert not matched(left, right).holds


@given(Seeds, st.integers(0, 19), st.integers(1, 79))
def test_one_other_label_is_refused_at_every_place(seed: int, place: int, by: int) -> None:
    left = detections(seed)
    labels = changed(left.labels, place, (left.labels[place] + by) % 80)
    match = matched(left, Detections(left.boxes, left.scores, labels))
    assert not match.holds
    assert match.different == 2


@given(Seeds, st.integers(0, 19))
def test_one_missing_or_doubled_detection_is_refused(seed: int, place: int) -> None:
    left = detections(seed)
    fewer = rows(left, [index for index in range(20) if index != place])
    more = rows(left, sorted([*range(20), place]))
    full = rows(left, sorted([*range(19 if place < 19 else 18), place]))
    for right in (fewer, more, full):
        assert not matched(left, right).holds
        assert not matched(right, left).holds


@given(Seeds, st.integers(0, 19), st.sampled_from(["boxes", "scores"]))
def test_a_value_that_is_no_number_is_refused(seed: int, place: int, where: str) -> None:
    left = detections(seed)
    for value in (np.nan, np.inf):
        broken = {
            "boxes": with_boxes(left, changed(left.boxes, (place, 1), value)),
            "scores": with_scores(left, changed(left.scores, place, value)),
        }[where]
        assert not matched(left, broken).holds
        assert not matched(broken, left).holds
        assert not matched(broken, broken).holds


def test_low_scores_are_compared_relative_to_the_largest() -> None:
    left = detections(3)
    low = with_scores(left, left.scores / 100)
    assert not matched(low, with_scores(low, low.scores + 5e-6)).holds
    assert matched(left, with_scores(left, left.scores + 5e-6)).holds


def test_a_detection_that_a_tie_cut_off_may_be_another_one() -> None:
    left = detections(5)
    right = moved_away(with_scores(left, left.scores + 1e-6), 19)
    match = matched(left, right)
    assert match.holds
    assert (match.pairs, match.cut) == (19, 1)


def test_two_tied_detections_may_be_cut_off_and_the_rest_moves_up() -> None:
    scores = detections(5).scores
    left = with_scores(detections(5), changed(scores, 18, scores[19]))
    other = rows(moved_away(left, 18), [*range(18), 19, 18])
    match = matched(left, other)
    assert match.holds
    assert (match.pairs, match.cut, match.moved) == (19, 1, 1)


@given(Seeds, st.integers(0, 18))
def test_another_detection_in_front_of_the_end_is_refused(seed: int, place: int) -> None:
    left = detections(seed)
    assert not matched(left, moved_away(left, place)).holds


def test_another_detection_at_the_end_must_tie_with_it() -> None:
    left = detections(5)
    right = moved_away(left, 19)
    assert matched(left, right).holds
    lower = with_scores(right, changed(right.scores, 19, right.scores[19] - 1e-6))
    assert not matched(left, lower).holds
    assert not matched(lower, left).holds


def test_the_end_of_a_list_that_was_not_cut_is_not_free() -> None:
    left = detections(5)
    right = moved_away(left, 19)
    assert matched(left, right, limit=20).holds
    assert not matched(left, right, limit=21).holds


def test_a_last_detection_that_was_changed_is_not_another_one() -> None:
    left = detections(5)
    by_half = changed(left.boxes, 19, left.boxes[19] + 0.5)
    assert not matched(left, with_boxes(left, by_half)).holds


def test_equal_scores_of_all_do_not_make_every_list_right() -> None:
    left = with_scores(detections(5), np.ones(20))
    assert not matched(left, with_scores(detections(6), np.ones(20))).holds
    one = rows(left, [3])
    assert not matched(one, rows(left, [4])).holds


def test_nothing_matches_only_nothing() -> None:
    none, some = rows(detections(1), []), detections(1)
    assert matched(none, none).holds
    assert not matched(none, some).holds
    assert not matched(some, none).holds


def test_a_match_is_plain_data_for_the_manifest() -> None:
    left = detections(5)
    match = matched(left, moved_away(left, 19))
    assert json.loads(json.dumps(asdict(match))) == asdict(match)


def test_filling_is_no_detection() -> None:
    dets = np.arange(20, dtype=np.float32).reshape(4, 5)
    found = Detections.of(dets, np.array([7, 0, -1, -1]))
    assert len(found) == 2
    assert found.boxes.tolist() == [[0, 1, 2, 3], [5, 6, 7, 8]]
    assert (found.scores.tolist(), found.labels.tolist()) == ([4, 9], [7, 0])


Arrays = st.lists(st.floats(width=32), max_size=8).map(lambda many: np.array(many, np.float32))


@given(Arrays)
def test_an_array_has_the_bits_of_its_copy(array: np.ndarray) -> None:
    assert same_bits(array, array.copy())
    assert largest_difference(array, array.copy()) == 0.0


@given(Arrays, st.integers(0, 7), st.integers(0, 31))
def test_one_bit_more_or_less_is_seen(array: np.ndarray, place: int, bit: int) -> None:
    assume(place < array.size)
    other = array.copy()
    other.view(np.uint32)[place] ^= np.uint32(1 << bit)
    assert not same_bits(array, other)


@pytest.mark.parametrize(
    "other",
    [
        np.zeros((2, 3), np.float64),
        np.zeros((3, 2), np.float32),
        np.zeros((2, 3, 1), np.float32),
        -np.zeros((2, 3), np.float32),
    ],
)
def test_another_dtype_shape_or_sign_of_zero_is_another_array(other: np.ndarray) -> None:
    assert not same_bits(np.zeros((2, 3), np.float32), other)


@pytest.mark.parametrize(
    ("left", "right", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([np.nan, 1.0], [np.nan, 1.0], 0.0),
        ([np.nan, 1.0], [0.0, 1.0], np.inf),
        ([np.inf], [-np.inf], np.inf),
        ([np.inf], [np.inf], 0.0),
        ([np.inf], [3e38], np.inf),
        ([1e-45], [0.0], 1e-45),
    ],
)
def test_the_largest_difference_counts_what_is_no_number(
    left: list[float], right: list[float], difference: float
) -> None:
    assert largest_difference(np.array(left), np.array(right)) == difference
    assert largest_difference(np.array(right), np.array(left)) == difference


def test_whole_numbers_and_truths_have_differences() -> None:
    low, high = np.array([0, 5], np.uint8), np.array([255, 5], np.uint8)
    assert largest_difference(low, high) == 255
    assert largest_difference(np.array([True]), np.array([False])) == 1


def test_the_magnitude_is_the_largest_finite_value() -> None:
    assert magnitude(np.array([-3.0, 2.0, np.inf, np.nan])) == 3.0
    assert magnitude(np.array([np.nan])) == magnitude(np.array([])) == 0.0


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        ([], "it is empty"),
        ([np.nan, np.nan], "it has no finite value"),
        ([np.nan, np.inf], "it has no finite value"),
        ([2.0, 2.0], "all its values are equal"),
        ([2.0, 2.5], ""),
        ([2.0], ""),
        ([np.nan, 1.0], ""),
    ],
)
def test_what_an_array_holds_tells_whether_it_proves_something(
    array: list[float], reason: str
) -> None:
    assert why_meaningless(np.array(array)) == reason


@given(Seeds, st.integers(0, 4), st.booleans())
def test_in_float16_a_tenth_may_be_others_and_no_more(seed: int, count: int, swap: bool) -> None:
    left = detections(seed, 30)
    right = left
    for place in range(count):
        right = moved_away(right, 7 * place)
    ours, theirs = (right, left) if swap else (left, right)
    match = match_detections(ours, theirs, TOLERANCE, 30, is_half=True)
    assert match.holds == (count <= 3)
    assert (match.rounded, match.different) == ((2 * count, 0) if count <= 3 else (0, 2 * count))
    assert match.pairs == 30 - count
    assert matched(ours, theirs).holds == (count == 0)


@given(Seeds)
def test_in_float16_pairs_keep_their_order_up_to_ties(seed: int) -> None:
    left = detections(seed, 30)
    assert not match_detections(left, rows(left, swapped(30, 3, 9)), TOLERANCE, 30, True).holds


BASE = np.array([3.0, -4.0, 0.0, 0.0], np.float32)  # of length 5
ODD = np.array([3.0, -4.0, np.nan, np.inf], np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"),
    [
        (BASE, BASE, True),
        (BASE + np.float32([0, 0, 0.049, 0]), BASE, True),
        (BASE + np.float32([0, 0, 0.051, 0]), BASE, False),
        (BASE * np.float32(1.009), BASE, True),
        (BASE[:3], BASE, False),
        (BASE.astype(np.float64), BASE, False),
        (BASE.astype(np.int32), BASE.astype(np.int32), True),
        (np.array([1000]), np.array([1001]), False),
        (np.array([True]), np.array([False]), False),
        (np.array(["a"]), np.array(["b"]), False),
        (ODD, ODD, True),
        (ODD + np.float32(0.01), ODD, True),
        (changed(ODD, 2, 0), ODD, False),
        (changed(ODD, 3, -np.inf), ODD, False),
        (changed(BASE, 3, np.nan), BASE, False),
        (changed(BASE, 0, np.inf), BASE, False),
        (BASE * np.float32(0), BASE * np.float32(0), True),
        (BASE * np.float32(0) + np.float32(1e-9), BASE * np.float32(0), False),
        ([BASE], [BASE + np.float32(0.01)], True),
        ([BASE], [BASE + np.float32(1)], False),
        ([BASE], [BASE, BASE], False),
        ([BASE], BASE, False),
    ],
)
def test_values_agree_within_the_length_of_their_difference(
    ours: object, theirs: object, agree: bool
) -> None:
    assert agrees(ours, theirs, 0.01) == agree
    assert agrees(ours, theirs, 0.0) == same_bits(ours, theirs)
