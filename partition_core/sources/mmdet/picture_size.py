"""Sizes of pictures that a detector does not run on: which multiples it would take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from partition_core.base.errors import Problem, problem
from partition_core.recipe.values import TensorSpec

_MULTIPLES = (2, 4, 8, 16, 32, 64, 128, 256)
"""Strides of detectors' maps and of what halves or doubles these."""


def refused_size(
    run: Callable[[torch.Tensor], Any],
    sample: torch.Tensor,
    spec: TensorSpec,
    reason: str,
) -> Problem | None:
    """Return what is wrong with the size of a `sample` (N, C, H, W) that a model does not `run` on.

    None if it runs on no larger one either. `reason` is what it raises.
    """
    pictures, channels, height, width = sample.shape
    for multiple, larger in _larger_sizes(height, width):
        try:
            run(torch.nn.functional.interpolate(sample, larger))
        except Exception:  # noqa: S112  # reason: then a larger one may fit
            continue
        return problem(
            f"export.inputs.{spec.name}.shape",
            f"the model does not run on {height} x {width}, and runs on {larger[0]} x {larger[1]}: "
            f"its maps of this size do not fit together ({reason})",
            f"expected a height and a width that are multiples of {multiple}, such as "
            f"{[pictures, channels, *_rounded(height, width, multiple)]}",
        )
    return None


def _larger_sizes(height: int, width: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield multiples that a size has not, with the next size that has them and none larger.

    A size that has more would not tell that the model wants no more.
    """
    for multiple in _MULTIPLES:
        if height % multiple or width % multiple:
            yield multiple, (_odd(height, multiple), _odd(width, multiple))


def _odd(side: int, multiple: int) -> int:
    count = -(-side // multiple)
    return (count if count % 2 else count + 1) * multiple


def _rounded(height: int, width: int, multiple: int) -> tuple[int, int]:
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple
