"""Which part of a config's model a recipe exports: the whole, or the detector in a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from partition_core.base.errors import ExportError, one_of, quoted, suggestion
from partition_core.recipe.values import MmdetModel

_OF_PICTURES = ("mean", "std", "bgr_to_rgb", "rgb_to_bgr", "pad_size_divisor", "pad_value")
"""Settings of a tracker's data preprocessor that are those of its detector's."""


def take_part(config: Any, model: MmdetModel) -> None:
    """Make the detector that `model` names the model of `config`, with the whole's preprocessor.

    Raises ExportError if there is no such detector, and for a tracker in which none is named.
    """
    from mmdet.models.detectors import BaseDetector

    whole = config.model
    parts = [key for key, value in whole.items() if _is_of(value, BaseDetector)]
    if not model.part:
        _check_is_no_tracker(whole, model, parts)
    elif model.part not in parts:
        raise ExportError.at(
            "model.part",
            f"the model of config '{model.config}' has no detector {quoted(model.part)}",
            one_of(parts),
            suggestion(model.part, parts),
        )
    else:
        config.model = whole[model.part]
        if not config.model.get("data_preprocessor"):
            config.model.data_preprocessor = _preprocessor(whole.get("data_preprocessor") or {})


def _preprocessor(of_whole: Any) -> dict[str, Any]:
    # The one for several branches of training wraps another.
    settings = of_whole.get("data_preprocessor") or of_whole
    kept = {key: settings[key] for key in _OF_PICTURES if key in settings}
    return {"type": "DetDataPreprocessor", **kept}


def _check_is_no_tracker(whole: Any, model: MmdetModel, parts: list[str]) -> None:
    from mmdet.models.mot import BaseMOTModel

    if _is_of(whole, BaseMOTModel):
        kind = _class(whole).__name__
        raise ExportError.at(
            "model.config",
            f"config '{model.config}' is of a {kind}, which follows objects through a video, but "
            "a recipe has only a picture",
            "expected a detector",
            *(f"write 'part: {part}' to export the detector inside" for part in parts[:1]),
        )


def _is_of(config: Any, base: type) -> bool:
    """Return whether a part of a config builds a module of a class."""
    kind = _class(config)
    return isinstance(kind, type) and issubclass(kind, base)


def _class(config: Any) -> Any:
    from mmdet.registry import MODELS

    kind = config.get("type") if isinstance(config, Mapping) else None
    return MODELS.get(kind) if isinstance(kind, str) else kind
