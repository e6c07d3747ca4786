"""A size that a detector does not run on is told with the multiples that it would take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import TensorSpec
from partition_core.sources.mmdet.detector import quiet_mmdet
from partition_core.sources.mmdet.picture_shape import refused_size
from partition_core.sources.traced import load_subject

from .detectors import recipe


def halving_and_doubling(times: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what adds a map to itself, halved and doubled so often, as FPGs and YOLOs do."""

    def run(picture: torch.Tensor) -> torch.Tensor:
        small = picture
        for _ in range(times):
            small = torch.nn.functional.max_pool2d(small, 2, ceil_mode=True)
        return picture + torch.nn.functional.interpolate(small, scale_factor=2**times)

    return run


def message(run: Callable[[torch.Tensor], object], height: int, width: int) -> str | None:
    shape = (2, 3, height, width)
    spec = TensorSpec("input", shape, "float32")
    told = refused_size(run, torch.zeros(shape), spec, "RuntimeError: 5 and 6")
    return told and f"{told.place.path}: {told.what}; {told.expected}"


@pytest.mark.parametrize(
    ("times", "size", "expected"),
    [
        (3, (100, 96), "multiples of 8, such as [2, 3, 104, 96]"),
        (5, (96, 100), "multiples of 32, such as [2, 3, 96, 128]"),
        (5, (97, 101), "multiples of 32, such as [2, 3, 128, 128]"),
        (7, (320, 320), "multiples of 128, such as [2, 3, 384, 384]"),
    ],
)
def test_the_multiples_are_those_that_the_maps_need(
    times: int, size: tuple[int, int], expected: str
) -> None:
    run = halving_and_doubling(times)
    with pytest.raises(RuntimeError):
        run(torch.zeros(2, 3, *size))
    told = message(run, *size)
    assert told is not None
    assert told.startswith(
        f"export.inputs.input.shape: the model does not run on {size[0]} x {size[1]}, but runs on "
    )
    assert "(RuntimeError: 5 and 6)" in told
    assert told.endswith(f"expected a height and a width that are {expected}")


def test_a_model_that_no_larger_size_helps_is_not_told_of_sizes() -> None:
    def broken(picture: torch.Tensor) -> None:
        raise ValueError(picture.shape)

    assert message(broken, 100, 100) is None


def test_a_detector_that_does_not_run_on_the_recipes_size_is_told_with_one_that_fits(
    tmp_path: Path,
) -> None:
    given = recipe(config="yolox/yolox_tiny_8xb8-300e_coco.py")
    spec = replace(given.export.inputs[0], shape=(1, 3, 100, 96))
    given = replace(given, export=replace(given.export, inputs=(spec,)), marks=())
    with quiet_mmdet(), pytest.raises(ExportError) as error:
        load_subject(given, tmp_path, None)
    (told,) = error.value.problems
    assert told.what.startswith("the model does not run on 100 x 96, but runs on ")
    assert "RuntimeError: Sizes of tensors must match" in told.what
    assert told.expected.endswith("multiples of 32, such as [1, 3, 128, 96]")
