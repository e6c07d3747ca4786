"""An mmdet detector as a traceable model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partition_core.base.errors import ExportError
from partition_core.recipe.policy_fits import Parts, check_policy
from partition_core.recipe.values import MmdetModel, Recipe
from partition_core.sources.mmdet.crowds import onnx_kept_in_turn
from partition_core.sources.mmdet.detector import Detector, Network, build_detector, quiet_mmdet
from partition_core.sources.mmdet.ops import TRANSLATIONS
from partition_core.sources.mmdet.panoptic import onnx_accepted_masks
from partition_core.sources.mmdet.picture_shape import (
    check_preprocessor,
    refused_channels,
    refused_size,
)
from partition_core.sources.mmdet.pictures import (
    imaginary_sample,
    picture_samples,
    resized_sample,
)
from partition_core.sources.mmdet.preparation import picture_notes
from partition_core.sources.mmdet.prompts import fixed_text
from partition_core.sources.mmdet.questions import KNOWN_FUNCTIONS
from partition_core.sources.mmdet.replacements import mmdet_rules
from partition_core.sources.traced import export, record
from partition_core.trace.traceable_model import TraceableModel

__all__ = ["export", "load", "record"]

ALL_TRANSLATIONS: dict[Any, Any] = {
    **TRANSLATIONS,
    torch.ops.partition.accepted_masks.default: onnx_accepted_masks,
    torch.ops.partition.kept_in_turn.default: onnx_kept_in_turn,
}
"""The ONNX translations of the custom ops that replace code of mmcv and mmdet."""


def load(recipe: Recipe, source: MmdetModel, root: Path) -> TraceableModel:
    """Return the detector that the model `source` of `recipe` describes; raises ExportError."""
    form = recipe.export.masks
    module, config = build_detector(source, root, "model.config", form)
    own = module.detector
    place = "partition.type"
    check_policy(recipe.partition.type, type(own).__name__, parts_of(own), place)
    (spec,) = recipe.export.inputs
    check_preprocessor(spec, config)
    if form == "pasted":
        _check_masks(own, "export.masks")
    is_network = bool(recipe.export.batches)
    if is_network:
        _check_head(own)
        module = Network(own).eval()

    def init() -> None:
        with quiet_mmdet():
            own.init_weights()  # type: ignore[operator]  # reason: mmengine's method, seen by torch's stubs as a tensor

    return TraceableModel(
        module,
        own,
        (module, "forward"),
        inputs=recipe.export.inputs,
        samples=picture_samples(recipe, own, root),
        typical_input=imaginary_sample(recipe, own, "model.config"),
        initialize=init,
        is_detector=not is_network,
        resized_sample=lambda shapes, number: resized_sample(recipe, own, root, shapes[0], number),
        while_traced=lambda: _rules_for(module),
        known_functions=KNOWN_FUNCTIONS,
        translations=ALL_TRANSLATIONS,
        notes=picture_notes(config, own, recipe.export),
        sample_problem=lambda sample, reason: (
            refused_channels(module, sample[0], spec)
            or refused_size(module, sample[0], spec, reason)
        ),
    )


def _check_head(detector: nn.Module) -> None:
    if not hasattr(getattr(detector, "bbox_head", None), "predict_by_feat"):
        raise ExportError.at(
            "export.dynamic_axes",
            f"the batch size of a {type(detector).__name__} cannot be dynamic",
            "expected a detector with a module 'bbox_head', in front of whose post-processing "
            "nothing takes the pictures one by one",
            "remove '0' and write the number of pictures in 'shape'",
        )


@contextlib.contextmanager
def _rules_for(module: Detector) -> Iterator[None]:
    with fixed_text(module.detector, module.text), mmdet_rules():
        yield


def _check_masks(detector: nn.Module, place: str) -> None:
    # Imports parts of mmdet, which needs mmcv's operators first (`build_detector`).
    from partition_core.sources.mmdet.masks import pastes_masks

    if not pastes_masks(detector):
        raise ExportError.at(
            place,
            "the model has no masks to paste",
            "expected a two-stage detector with a mask head",
            "leave out 'masks'; masks of other detectors have the size of the input anyway",
        )


def parts_of(detector: nn.Module) -> Parts:
    """Return the parts of an mmdet detector, by which policies fit."""
    from mmdet.models.detectors import DetectionTransformer

    roi_head = getattr(detector, "roi_head", None)
    return Parts(
        regions=roi_head is not None,
        box_heads=_count(getattr(roi_head, "bbox_head", None)),
        mask_heads=_count(getattr(roi_head, "mask_head", None)),
        dense_head=getattr(detector, "bbox_head", None) is not None,
        mask_branch=getattr(detector, "mask_head", None) is not None,
        suppresses=not isinstance(detector, DetectionTransformer),
        features=hasattr(detector, "extract_feat"),
    )


def _count(head: Any) -> int:
    return len(head) if isinstance(head, nn.ModuleList) else int(head is not None)
