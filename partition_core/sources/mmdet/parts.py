"""Which part of a config's model a recipe exports: the whole, or the detector in a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from partition_core.base.errors import ExportError, one_of, quoted, suggestion
from partition_core.recipe.values import MmdetModel

_OF_PICTURES = ("mean", "std", "bgr_to_rgb", "rgb_to_bgr", "pad_size_divisor", "pad_value")
"""Settings of a tracker's data preprocessor that are those of its detector's."""


def take_part(config: Any, model: MmdetModel) -> None:
    """Make the part that `model` names the model of `config`, with the whole's preprocessor.

    Raises ExportError if there is no such part, and for a tracker of which none is named.
    """
    whole = config.model
    parts = [key for key, value in whole.items() if isinstance(value, Mapping) and "type" in value]
    if not model.part:
        _check_is_no_tracker(whole, model, parts)
        return
    if model.part not in parts:
        raise ExportError.at(
            "model.part",
            f"the model of config '{model.config}' has no part {quoted(model.part)}",
            one_of(parts),
            suggestion(model.part, parts),
        )
    config.model = whole[model.part]
    if not config.model.get("data_preprocessor"):
        settings = whole.get("data_preprocessor") or {}
        kept = {key: settings[key] for key in _OF_PICTURES if key in settings}
        config.model.data_preprocessor = {"type": "DetDataPreprocessor", **kept}


def _check_is_no_tracker(whole: Any, model: MmdetModel, parts: list[str]) -> None:
    from mmdet.models.mot import BaseMOTModel
    from mmdet.registry import MODELS

    kind = whole.get("type")
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    if isinstance(kind, type) and issubclass(kind, BaseMOTModel):
        raise ExportError.at(
            "model.config",
            f"config '{model.config}' is of a {kind.__name__}, which follows objects through a "
            "video, but a recipe has only a picture",
            "expected a detector",
            "write 'part: detector' to export the detector inside" if "detector" in parts else "",
        )
