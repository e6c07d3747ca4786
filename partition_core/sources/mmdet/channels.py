"""Checks the number of channels of a recipe's pictures against the model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from partition_core.base.errors import ExportError, Problem, problem
from partition_core.base.wording import counted
from partition_core.chain.picture import PICTURE_CHANNELS
from partition_core.recipe.values import TensorSpec
from partition_core.sources.mmdet.preparation import turned


def check_preprocessor(spec: TensorSpec, config: Any) -> None:
    """Raise ExportError if a `config`'s data preprocessor cannot process pictures like `spec`."""
    settings = _preprocessor(config)
    count = spec.shape[1]
    unfit = [key for key in ("mean", "std") if len(settings.get(key) or ()) not in (0, 1, count)]
    if count == 1 and turned(settings):
        unfit.append(turned(settings))
    if unfit:
        names = ", ".join(f"'{key}'" for key in unfit)
        why = f"{names} of the model's data preprocessor are for 3"
        remedy = (
            "or, for a model of 1 channel, override 'model.data_preprocessor' with "
            "one number in 'mean' and 'std' and without reversed channels ('bgr_to_rgb: false')"
        )
        raise ExportError(_misfit(spec, 3, why, remedy))


def refused_channels(
    run: Callable[[torch.Tensor], Any], sample: torch.Tensor, spec: TensorSpec
) -> Problem | None:
    """Return the problem with the channels of a `sample` (N, C, H, W) on which `run` fails.

    None if the model does not run on another number of channels either.
    """
    for count in PICTURE_CHANNELS - {spec.shape[1]}:
        try:
            run(sample[:, :1].repeat(1, count, 1, 1))
        except Exception:  # noqa: S112  # reason: the first error is reported
            continue
        return _misfit(spec, count, f"the model takes {count}", "")
    return None


def _misfit(spec: TensorSpec, channels: int, why: str, remedy: str) -> Problem:
    pictures, count, *size = spec.shape
    return problem(
        f"export.inputs.{spec.name}.shape",
        f"has {counted(count, 'channel')}, but {why}",
        f"expected {[pictures, channels, *size]}",
        remedy,
    )


def _preprocessor(config: Any) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = config.model.get("data_preprocessor") or {}
    # The one of a detector with a teacher wraps another.
    return settings.get("data_preprocessor") or settings
