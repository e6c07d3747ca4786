"""The only use of cv2 when a build runs: pictures are read, scaled, drawn on and written."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from partition_core.base.errors import Place, RunError
from partition_core.base.outside_files import content_of

try:
    import cv2
except ImportError as missing:  # a deployment on tensors needs no cv2
    raise RunError.at(
        "pictures",
        f"cv2 cannot be imported: {missing}",
        "install it with `pip install 'partition-core[pictures]'`",
        "if 'libGL.so.1' is missing, install the system package libgl1",
    ) from missing

if TYPE_CHECKING:
    from partition_core.runtime.detections import Detection

Pixels = np.ndarray[Any, Any]
"""A picture as cv2 reads it: (H, W, 3), blue first, or (H, W, 1) if it is gray."""

_INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
_READ_AS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}
_LARGEST = 1 << 30
"""The most bytes of a picture file; cv2 itself refuses more than 2^30 pixels."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GOLDEN = 0.618034
"""Steps of the golden ratio around the circle of hues keep neighbouring labels apart."""


def read(path: Path, channels: int = 3) -> Pixels:
    """Return the picture in a file, upright, as uint8, with 3 channels or 1.

    Raises RunError if it cannot be read.
    """
    try:
        content = np.frombuffer(content_of(path, _LARGEST), np.uint8)
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from error
    picture: Pixels | None = cv2.imdecode(content, _READ_AS[channels]) if content.size else None
    if picture is None:
        raise _unreadable(path, "is not a picture that cv2 can read")
    return picture.reshape(*picture.shape[:2], channels)


def _unreadable(path: Path, what: str) -> RunError:
    return RunError.at(Place(str(path)), what, "expected a picture file (JPEG, PNG, …)")


def resized(picture: Pixels, width: int, height: int, interpolation: str) -> Pixels:
    """Return the picture at another size."""
    scaled = cv2.resize(picture, (width, height), interpolation=_INTERPOLATIONS[interpolation])
    return np.asarray(scaled).reshape(height, width, -1)  # cv2 drops a single channel


def encoded(picture: Pixels, ending: str) -> bytes:
    """Return the bytes of a picture file in the format of `ending`: `.jpg`, `.png`."""
    return bytes(cv2.imencode(ending, picture)[1])


def drawn(picture: Pixels, detections: Sequence[Detection], note: str = "") -> Pixels:
    """Return the picture, (H, W, 3) uint8 blue first, with a box and a name for each detection.

    The best are drawn last, so that they are on top, and then a `note` at the bottom.
    """
    canvas = picture.copy()
    line = max(1, round(max(picture.shape[:2]) / 400))
    for item in sorted(detections, key=lambda detection: detection.score):
        _draw_box(canvas, item.box, f"{item.name} {item.score:.2f}", _color(item.label), line)
    if note:
        _draw_note(canvas, note, line)
    return canvas


def _color(label: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN % 1.0, 0.8, 0.95)
    return round(blue * 255), round(green * 255), round(red * 255)


def _draw_box(
    picture: Pixels, box: Sequence[float], text: str, color: tuple[int, int, int], line: int
) -> None:
    """Draw a box (x1 y1 x2 y2) into the picture, with a text at its upper left corner."""
    x1, y1, x2, y2 = (round(value) for value in box)
    cv2.rectangle(picture, (x1, y1), (x2, y2), color, line, cv2.LINE_AA)
    scale, thickness = 0.3 + 0.15 * line, max(1, line // 2)
    (width, height), base = cv2.getTextSize(text, _FONT, scale, thickness)
    left = max(0, min(x1, picture.shape[1] - width))
    top = max(0, y1 - height - base)
    cv2.rectangle(picture, (left, top), (left + width, top + height + base), color, cv2.FILLED)
    ink = (0, 0, 0) if sum(color) > 384 else (255, 255, 255)
    origin = (left, top + height + base // 2)
    cv2.putText(picture, text, origin, _FONT, scale, ink, thickness, cv2.LINE_AA)


def _draw_note(picture: Pixels, text: str, line: int) -> None:
    """Write a text into the picture, white on a black strip across its bottom."""
    height, width = picture.shape[:2]
    scale, thickness = 0.3 + 0.15 * line, max(1, line // 2)
    (wide, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    scale *= min(1.0, 0.92 * width / wide)
    (wide, high), base = cv2.getTextSize(text, _FONT, scale, thickness)
    top = max(0, height - high - 2 * base)
    cv2.rectangle(picture, (0, top), (width, height), (0, 0, 0), cv2.FILLED)
    origin = (max(0, (width - wide) // 2), height - base)
    cv2.putText(picture, text, origin, _FONT, scale, (255, 255, 255), thickness, cv2.LINE_AA)
