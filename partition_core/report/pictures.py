"""Sample pictures for the page, and the detections in them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from partition_core.base.arrays import Arrays
from partition_core.chain.picture import PICTURE_CHANNELS
from partition_core.report.figures import Detection, Picture, RunDetections
from partition_core.report.source import Source

_AT_FIRST = 8
_QUALITY = 85


def pictures(source: Source) -> Iterator[Picture]:
    """Yield the first picture of each sample with the detections of the three runs in it.

    There are none for a model that does not detect in pictures.
    """
    if not source.export.get("detects") or not source.figures.chained:
        return
    names = source.export.get("classes") or []
    recorded, figures = source.recording.samples, source.figures
    for sample, whole, chained in zip(recorded, figures.whole, figures.chained, strict=True):
        inputs = [*sample.inputs.values()]
        if len(inputs) != 1 or inputs[0].ndim != 4 or inputs[0].shape[1] not in PICTURE_CHANNELS:
            return
        pixels = _pixels(inputs[0][0], source.export.get("picture") or {})
        ways = {
            "PyTorch, eager": sample.outputs,
            "end2end.onnx": whole,
            "segments in a chain": chained,
        }
        runs = tuple(
            RunDetections(way, tuple(_detections(outputs, names)))
            for way, outputs in ways.items()
            if {"dets", "labels"} <= outputs.keys()
        )
        yield Picture(_data_uri(pixels), pixels.shape[1], pixels.shape[0], runs)


def threshold(shown: Sequence[Picture]) -> float:
    """Return a score that about a dozen detections of the first picture reach, in hundredths."""
    detections = shown[0].runs[0].detections if shown and shown[0].runs else ()
    scores = [detection.score for detection in detections]
    best = sorted(scores, reverse=True)[:_AT_FIRST]
    return int(best[-1] * 100) / 100 if best else 0.0


def _detections(outputs: Arrays, names: Sequence[str]) -> Iterator[Detection]:
    for (x1, y1, x2, y2, score), label in zip(
        outputs["dets"][0], outputs["labels"][0], strict=True
    ):
        if label < 0:
            continue
        known = int(label) < len(names)
        yield Detection(
            x=float(x1),
            y=float(y1),
            width=max(0.0, float(x2 - x1)),
            height=max(0.0, float(y2 - y1)),
            label=int(label),
            name=str(names[int(label)]) if known else f"class {int(label)}",
            score=float(score),
            text_x=max(2.0, float(x1) + 2),
            text_y=max(12.0, float(y1) - 3),
        )


def _pixels(normalized: np.ndarray[Any, Any], how: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return a picture (C, H, W), of colour or gray, as (H, W, 3) uint8, red first.

    `how` is a `PictureInput` as plain data. Without it each channel is stretched to its full range.
    """
    picture = normalized.astype(np.float64)
    if how.get("mean") and how.get("std"):
        mean, std = (np.reshape(how[name], (-1, 1, 1)) for name in ("mean", "std"))
        picture = picture * std + mean
    elif not how:
        low, high = (f(picture, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        picture = (picture - low) / np.maximum(high - low, 1e-9) * 255
    if how.get("channels") == "BGR":
        picture = picture[::-1]
    coloured = np.broadcast_to(picture, (max(PICTURE_CHANNELS), *picture.shape[1:]))
    return coloured.transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8)


def _data_uri(pixels: np.ndarray[Any, Any]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
