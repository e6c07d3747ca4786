"""Reports configs that are not of an mmdet 3 detector, and what to change or name instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from partition_core.base.errors import ExportError, problem, suggestion
from partition_core.recipe.values import MmdetModel
from partition_core.trace.structure import mappings_in

_REMOVED_STEPS = {
    "MultiScaleFlipAug": "write its 'transforms', and 'scale' in Resize for its 'img_scale'",
    "Normalize": "",
    "ImageToTensor": "leave it out",
    "DefaultFormatBundle": "leave it out",
    "Collect": "write dict(type='PackDetInputs')",
}
"""Steps of mmdet 2's test pipelines that mmdet 3 does not have, and what to do with each.

The settings of 'Normalize' belong to the data preprocessor.
"""

_AUGMENTED = ("DetTTAModel",)
_PREPROCESSOR = (
    "model.data_preprocessor = dict(type='DetDataPreprocessor', mean={mean}, std={std}, "
    "bgr_to_rgb={turned}, pad_size_divisor={divisor})"
)
_COMMON = {"mean": "[…]", "std": "[…]", "turned": True, "divisor": 32}


def check_form(config: Any, model: MmdetModel, place: str) -> None:
    """Raise ExportError for a config without a detector in mmdet 3's form."""
    parts = config.get("model")
    if _is_augmented(config):
        raise ExportError(_augmented(model, place))
    if not isinstance(parts, Mapping):
        raise ExportError.at(
            place,
            f"config '{model.config}' cannot be built: it has no 'model'",
            "expected the config of a detector",
            "name a config that inherits from this one",
        )
    if parts.get("data_preprocessor"):
        return
    steps = [step for find in _FINDERS for step in find(config)]
    if _listed(config):
        raise ExportError.at(
            place,
            f"config '{model.config}' has the form of mmdet 2: it has no "
            f"'model.data_preprocessor', but has {_listed(config)}",
            "expected the form of mmdet 3",
            "; ".join(steps),
        )


def check_preprocessor(detector: Any, model: MmdetModel, place: str) -> None:
    """Raise ExportError for a detector whose config does not normalize pictures."""
    from mmengine.model import BaseDataPreprocessor

    if type(detector.data_preprocessor) is BaseDataPreprocessor:
        raise ExportError.at(
            place,
            f"config '{model.config}' has no 'model.data_preprocessor', which batches "
            "and normalizes pictures",
            f"expected {_PREPROCESSOR.format(**_COMMON)} with the values from its training",
        )


def _listed(config: Any) -> str:
    parts = config.get("model") or {}
    entries = [
        *(f"'{key}'" for key in ("img_norm_cfg", "data") if key in config),
        *(f"'{key}' outside of 'model'" for key in _outside(config)),
        *(["'model.pretrained'"] if "pretrained" in parts else []),
        *(f"the step '{step}'" for step in _removed_steps(config)),
    ]
    return ", ".join(entries)


def _normalization(config: Any) -> Iterator[str]:
    parts = list(mappings_in(config.get("data") or {}))
    steps = [part for part in parts if part.get("type") == "Normalize"]
    settings = config.get("img_norm_cfg") or (steps[0] if steps else None)
    if settings is not None:
        pads = [part.get("size_divisor") for part in parts]
        values = {
            "mean": list(settings.get("mean", [])) or "[…]",
            "std": list(settings.get("std", [])) or "[…]",
            "turned": bool(settings.get("to_rgb", True)),
            "divisor": next(filter(None, pads), 1),
        }
        where = "'img_norm_cfg'" if "img_norm_cfg" in config else "the step 'Normalize'"
        yield f"write {where} as {_PREPROCESSOR.format(**values)}"


def _datasets(config: Any) -> Iterator[str]:
    if "data" in config and "test_dataloader" not in config:
        yield (
            "write 'data.test' as test_dataloader = dict(dataset=dict(type=…, "
            "pipeline=test_pipeline))"
        )


def _pipeline(config: Any) -> Iterator[str]:
    steps = [step for step in _removed_steps(config) if _REMOVED_STEPS[step]]
    if steps:
        changes = ", ".join(f"for '{step}' {_REMOVED_STEPS[step]}" for step in steps)
        yield f"in the pipeline, {changes}"


def _types(config: Any) -> Iterator[str]:
    from mmcv import ops
    from mmdet.registry import MODELS, TASK_UTILS
    from mmengine.registry import WEIGHT_INITIALIZERS

    registries = (MODELS, TASK_UTILS, WEIGHT_INITIALIZERS)
    kinds = (part.get("type") for part in mappings_in(config.get("model") or {}))
    for kind in dict.fromkeys(kind for kind in kinds if isinstance(kind, str)):
        # Operators, such as 'nms' and 'RoIAlign', are referred to by their names in mmcv.
        if not any(registry.get(kind) for registry in registries) and not hasattr(ops, kind):
            remedy = suggestion(kind, MODELS.module_dict)
            yield f"replace '{kind}', which mmdet 3 does not have{remedy and f' ({remedy})'}"


def _weights(config: Any) -> Iterator[str]:
    if "pretrained" in (config.get("model") or {}):
        yield "leave out 'model.pretrained': the recipe's 'weights' are the only ones"


def _settings(config: Any) -> Iterator[str]:
    yield from (f"write '{key}' as model.{key}" for key in _outside(config))


def _outside(config: Any) -> list[str]:
    # mmdet 3 has loops of mmengine under these names, with a type.
    keys = ("train_cfg", "test_cfg")
    return [key for key in keys if key in config and "type" not in (config[key] or {"type": ""})]


_FINDERS: tuple[Callable[[Any], Iterator[str]], ...] = (
    _normalization,
    _datasets,
    _pipeline,
    _types,
    _weights,
    _settings,
)
"""Each finds a part of mmdet 2's form, and yields what to write for mmdet 3."""


def _removed_steps(config: Any) -> list[str]:
    test = (config.get("data") or {}).get("test") or {}
    types = [step.get("type") for step in mappings_in(test or config.get("test_pipeline") or [])]
    return [step for step in _REMOVED_STEPS if step in types]


def _is_augmented(config: Any) -> bool:
    parts = config.get("model")
    if isinstance(parts, Mapping):
        kind = parts.get("type")
        return (kind if isinstance(kind, str) else getattr(kind, "__name__", "")) in _AUGMENTED
    return "tta_model" in config or "tta_pipeline" in config


def _augmented(model: MmdetModel, place: str) -> Any:
    return problem(
        place,
        f"config '{model.config}' is for test-time augmentation, which merges a detector's "
        "results for several variants of a picture",
        "expected the config of a detector, which is exported for one variant of each picture",
        "name the detector's own config, without 'tta_model'",
    )
