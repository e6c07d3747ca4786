"""Draws detections into a picture; must not run a model."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from partition_core.runtime import pixels
from partition_core.runtime.detections import Detection

_GOLDEN = 0.618034
"""Steps of the golden ratio around the circle of hues keep neighbouring labels apart."""


def drawn(picture: pixels.Pixels, detections: Sequence[Detection], note: str = "") -> pixels.Pixels:
    """Return the picture, (H, W, 3) uint8 blue first, with a box and a name for each detection.

    The best are drawn last, so that they are on top, and then a `note` at the bottom.
    """
    canvas = picture.copy()
    line = max(1, round(max(picture.shape[:2]) / 400))
    for item in sorted(detections, key=lambda detection: detection.score):
        pixels.draw_box(canvas, item.box, f"{item.name} {item.score:.2f}", _color(item.label), line)
    if note:
        pixels.draw_note(canvas, note, line)
    return canvas


def _color(label: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN % 1.0, 0.8, 0.95)
    return round(blue * 255), round(green * 255), round(red * 255)
