"""Input sizes that a detector fails on, and the multiples that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from partition_core.base.errors import Problem, problem
from partition_core.recipe.values import TensorSpec

_MULTIPLES = (2, 4, 8, 16, 32, 64, 128, 256)
"""Strides of detectors' feature maps, and of layers that halve or double them."""


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
        return problem(
            f"export.inputs.{spec.name}.shape",
            f"the model does not run on {height} x {width}, but runs on {larger[0]} x {larger[1]}: "
            f"its feature maps do not match at this size ({reason})",
            f"expected a height and a width that are multiples of {multiple}, such as "
            f"{[pictures, channels, *_rounded(height, width, multiple)]}",
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


def _rounded(height: int, width: int, multiple: int) -> tuple[int, int]:
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple
