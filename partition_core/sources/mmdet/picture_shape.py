"""Input channels and sizes that a detector fails on, and those that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from partition_core.base.errors import ExportError, Problem, problem
from partition_core.base.wording import counted
from partition_core.chain.picture import PICTURE_CHANNELS, up_to_multiple
from partition_core.recipe.values import TensorSpec
from partition_core.sources.mmdet.preparation import turned

_MULTIPLES = (2, 4, 8, 16, 32, 64, 128, 256)
"""Strides of detectors' feature maps, and of layers that halve or double them."""


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


def refused_size(
    run: Callable[[torch.Tensor], Any],
    sample: torch.Tensor,
    spec: TensorSpec,
    reason: str,
) -> Problem | None:
    """Return the problem with the size of a `sample` (N, C, H, W) on which `run` fails.

    None if it does not run on a larger size either. `reason` is the error message.
    """
    pictures, channels, height, width = sample.shape
    for multiple, larger in _larger_sizes(height, width):
        try:
            run(torch.nn.functional.interpolate(sample, larger))
        except Exception:  # noqa: S112  # reason: a larger size may work
            continue
        multiples = [up_to_multiple(side, multiple) for side in (height, width)]
        return problem(
            f"export.inputs.{spec.name}.shape",
            f"the model does not run on {height} x {width}, but runs on {larger[0]} x {larger[1]}: "
            f"its feature maps do not match at this size ({reason})",
            f"expected a height and a width that are multiples of {multiple}, such as "
            f"{[pictures, channels, *multiples]}",
        )
    return None


def _larger_sizes(height: int, width: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield multiples that a size lacks, with the next size that has them and no larger multiple.

    A size with a larger multiple would not show that the smaller one is enough.
    """
    for multiple in _MULTIPLES:
        if height % multiple or width % multiple:
            yield multiple, (_odd(height, multiple), _odd(width, multiple))


def _odd(side: int, multiple: int) -> int:
    count = -(-side // multiple)
    return (count if count % 2 else count + 1) * multiple
