"""What mmdet's own model detects, and how it is compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def predicted(detector: Any, picture: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return dets (K, 5) and labels (K,) of mmdet's own `predict`."""
    from mmdet.structures import DetDataSample

    shape = tuple(picture.shape[2:])
    meta = {
        "img_shape": shape,
        "ori_shape": shape,
        "batch_input_shape": shape,
        "scale_factor": (1.0, 1.0),
    }
    with torch.no_grad():
        sample = DetDataSample(metainfo=meta)
        (result,) = detector.predict(picture, [sample], rescale=False)
    found = result.pred_instances
    dets = torch.cat([found.bboxes, found.scores[:, None]], dim=1)
    return dets.numpy(), found.labels.numpy()


def unmatched(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> int:
    """Return how many detections have no partner: same label, box within 0.1 px, score 1e-4."""
    left = list(zip(*expected, strict=True))
    missed = 0
    for box, label in zip(*found, strict=True):
        partner = next(
            (
                index
                for index, (other, other_label) in enumerate(left)
                if label == other_label
                and np.abs(box[:4] - other[:4]).max() < 0.1
                and abs(box[4] - other[4]) < 1e-4
            ),
            None,
        )
        if partner is None:
            missed += 1
        else:
            del left[partner]
    return missed + len(left)
