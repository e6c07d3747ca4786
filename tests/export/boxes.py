"""Boxes with scores, on a grid and at the edges, and their suppression one pair at a time."""

from __future__ import annotations

import numpy as np

Boxes = np.ndarray


def slow_nms(boxes: Boxes, scores: Boxes, threshold: float, offset: int) -> list[int]:
    """Keep a box unless one kept before it overlaps too much: one pair at a time, in float64."""
    kept: list[int] = []
    for one in sorted(range(len(boxes)), key=lambda index: (-scores[index], index)):
        for other in kept:
            left, top, right, bottom = boxes[one].astype(float)
            a, b, c, d = boxes[other].astype(float)
            width = min(right, c) - max(left, a) + offset
            height = min(bottom, d) - max(top, b) + offset
            both = max(width, 0) * max(height, 0)
            area = (right - left + offset) * (bottom - top + offset)
            union = area + (c - a + offset) * (d - b + offset) - both
            if union > 0 and both / union > threshold:
                break
        else:
            kept.append(one)
    return kept


def random_boxes(seed: int, count: int) -> tuple[Boxes, Boxes]:
    """Return boxes on a grid of quarters, so that no IoU is within rounding of a threshold."""
    random = np.random.default_rng(seed)
    corner = random.integers(-80, 320, (count, 2)) / 4
    size = random.integers(4, 160, (count, 2)) / 4
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return boxes, random.permutation(count).astype(np.float32) / max(count, 1)


BOX = [10.0, 10, 20, 30]


EDGES: dict[str, tuple[list[list[float]], list[float]]] = {
    "none": ([], []),
    "one": ([BOX], [0.5]),
    "identical": ([BOX] * 4, [0.1, 0.4, 0.3, 0.2]),
    "identical with one score": ([BOX] * 3, [0.5] * 3),
    "ties apart": ([BOX, [0, 0, 5, 5], [40, 40, 60, 60]], [0.5] * 3),
    "zero area": ([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10]], [0.9, 0.8, 0.7]),
    "zero width": ([[5, 0, 5, 10], [0, 0, 10, 10], [5, 2, 5, 8]], [0.9, 0.8, 0.7]),
    "outside": ([[-50, -50, -20, -20], [-45, -50, -20, -20], [900, 900, 950, 950]], [0.3, 0.2, 1]),
    "negative scores": ([BOX, BOX, [0, 0, 5, 5]], [-2.0, -1, -3]),
    "touching": ([[0, 0, 10, 10], [10, 0, 20, 10]], [0.9, 0.8]),
    "overlap of exactly the threshold": ([[0, 0, 10, 10], [0, 0, 10, 5]], [0.9, 0.8]),
}


def edge(name: str) -> tuple[Boxes, Boxes]:
    boxes, scores = EDGES[name]
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)
