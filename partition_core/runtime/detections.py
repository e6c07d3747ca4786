"""Detections in pictures, in the pictures' own pixels and with the names of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from partition_core.base.arrays import Array
from partition_core.base.errors import RunError
from partition_core.chain.pieces import MODEL_OUTPUT

if TYPE_CHECKING:
    from partition_core.runtime.pipeline import Pipeline
    from partition_core.runtime.preprocessing import Frame

_DETECTIONS = ("dets", "labels")


@dataclass(frozen=True)
class Detection:
    """One object: its label with its name (the number if unknown), its score, and its box
    x1 y1 x2 y2 in pixels of the picture."""

    label: int
    name: str
    score: float
    box: tuple[float, float, float, float]


def detections(pipeline: Pipeline, pictures: Sequence[str | Path | Array]) -> list[list[Detection]]:
    """Return the detections in each picture, best first.

    Pictures run in batches of the model's size, through the segments if these lead to detections,
    otherwise through end2end. Raises RunError for an unreadable picture and for a model that is
    not a detector.
    """
    check_detects(pipeline)
    run = pipeline.end2end if missing_link(pipeline) else pipeline
    size = pipeline.manifest.pictures
    results: list[list[Detection]] = []
    for start in range(0, len(pictures), size):
        own = list(pictures[start : start + size])
        # The last batch is padded with copies, whose detections are dropped.
        batch = pipeline.preprocess(*own, *own[-1:] * (size - len(own)))
        outputs = run(batch.inputs)
        results += [
            list(in_picture(outputs, index, frame, pipeline.manifest.classes))
            for index, frame in enumerate(batch.frames[: len(own)])
        ]
    return results


def check_detects(pipeline: Pipeline) -> None:
    """Raise RunError unless the model takes a picture and gives `dets` and `labels`."""
    if not pipeline.manifest.detects:
        names = [tensor.name for tensor in pipeline.outputs]
        raise RunError.at(
            f"build of '{pipeline.manifest.recipe}'",
            f"its segments give {', '.join(names)}",
            "expected a detector's 'dets' and 'labels'",
            "call the pipeline from Python: its outputs are whatever the segments give",
        )


def missing_link(pipeline: Pipeline) -> str:
    """Return why the segments do not lead from a picture to detections; empty if they do."""
    for name, segment in pipeline.gaps.items():
        return f"'{segment}' needs '{name}', which no segment gives"
    outputs = {edge.input for edge in pipeline.manifest.edges if edge.consumer == MODEL_OUTPUT}
    missing = [f"'{name}'" for name in _DETECTIONS if name not in outputs]
    return f"no segment gives {' and '.join(missing)}" if missing else ""


def in_picture(
    outputs: Mapping[str, Array], index: int, frame: Frame, classes: Sequence[str]
) -> Iterator[Detection]:
    """Yield the detections of one picture of a batch, without those entirely in the padding.

    `outputs` has `dets` (N, K, 5), x1 y1 x2 y2 and score, and `labels` (N, K), -1 for no detection.
    """
    # float16 is too coarse for pixel coordinates.
    rows, labels = outputs["dets"][index].astype(np.float32), outputs["labels"][index]
    boxes = frame.boxes_in_picture(rows[:, :4])
    for (x1, y1, x2, y2), score, label in zip(boxes, rows[:, 4], labels, strict=True):
        if label >= 0 and x2 > x1 and y2 > y1:
            name = classes[label] if label < len(classes) else str(label)
            box = (float(x1), float(y1), float(x2), float(y2))
            yield Detection(int(label), name, float(score), box)
