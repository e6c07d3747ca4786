"""Families of mmdet: detectors that are exported, and compared with PyTorch's."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partition_core.proof.comparison import Detections, match_detections, unequal_masks
from partition_core.recipe.values import (
    ExportOptions,
    Mark,
    MmdetModel,
    Partition,
    Proof,
    Recipe,
    Seed,
    TensorSpec,
)
from partition_core.trace.traceable_model import TraceableModel
from tests.export.support import run, saved

from .exporting import exported_with_subject

SIDE = 128
LIMIT = 20
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Family:
    """An exported detector: what it is made of, its file and the pictures of its proof."""

    subject: TraceableModel
    file: Path
    pictures: tuple[np.ndarray, ...]

    def exported(self, picture: np.ndarray) -> Arrays:
        return run(self.file, {"input": picture})

    def predicted(self, picture: np.ndarray) -> Arrays:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what mmdet 3.3 calls is deprecated
            outputs = self.subject.module(torch.from_numpy(picture.copy()))
        return {name: tensor.numpy() for name, tensor in outputs.items()}


def family(folder: Path, config: str, overrides: dict[str, Any]) -> Family:
    values = tuple(sorted((key, json.dumps(value)) for key, value in overrides.items()))
    recipe = Recipe(
        "family",
        MmdetModel(config, values, Seed(0)),
        ExportOptions((TensorSpec("input", (1, 3, SIDE, SIDE), "float32"),), (), (), 20),
        (Mark("detector_forward", "detector", None, ("input",), None),),
        Partition("none", ()),
        Proof(1e-4, ()),
    )
    subject, exported = exported_with_subject(recipe, folder)
    first, second = (exported.recording.samples[number].inputs["input"] for number in (0, 1))
    pictures = (first, second, first[..., ::-1].copy(), second[:, :, ::-1].copy())
    return Family(subject, saved(exported.model, folder), pictures)


def compare(found: Arrays, expected: Arrays, limit: int = LIMIT) -> int:
    """Assert that two runs found the same; return how many detections that are."""
    assert list(found) == list(expected)
    ours, theirs = (Detections.of(one["dets"][0], one["labels"][0]) for one in (found, expected))
    match = match_detections(theirs, ours, 1e-4, limit)
    assert match.holds, match
    if "masks" in expected:
        assert found["masks"].shape == expected["masks"].shape
        assert found["masks"].dtype == expected["masks"].dtype
        if match.moved == match.cut == 0:
            assert unequal_masks(expected["masks"][0], found["masks"][0], 1e-4) == 0
    return len(theirs)
