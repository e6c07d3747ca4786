"""Pictures as a detector's input: read, resized to the input's size and normalized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from partition_core.base.errors import ExportError
from partition_core.recipe.values import Recipe

Picture = np.ndarray[Any, Any]
"""A picture as cv2 reads it: (H, W, 3) uint8, blue first, or (H, W, 1) if it is gray."""

_READ_AS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}


def sample_photograph() -> Path:
    """Return a photograph of a person that ships with matplotlib, which mmdet depends on."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def picture_samples(
    recipe: Recipe, detector: nn.Module, root: Path
) -> tuple[tuple[torch.Tensor, ...], ...]:
    """Return one sample for each picture of the recipe, and at least two.

    A recipe without pictures gets the sample photograph. If there is only one picture, the second
    sample is its mirrored and enlarged centre, so that every feature is in another position.
    Raises ExportError for a picture that cannot be read.
    """
    (spec,) = recipe.export.inputs
    pictures = _pictures(recipe, root)
    place = "model.config"
    return tuple((_batch(detector, picture, spec.shape, place),) for picture in pictures)


def resized_sample(
    recipe: Recipe,
    detector: nn.Module,
    root: Path,
    shape: tuple[int, ...],
    number: int,
) -> tuple[torch.Tensor, ...]:
    """Return sample `number` with another shape, from the same pictures as `picture_samples`."""
    pictures = _pictures(recipe, root)
    return (_batch(detector, pictures[number % len(pictures)], shape, "model.config"),)


def _pictures(recipe: Recipe, root: Path) -> list[Picture]:
    (spec,) = recipe.export.inputs
    channels = spec.shape[1]
    pictures = [
        _read(root / image, channels, f"proof.images[{index}]")
        for index, image in enumerate(recipe.proof.images)
    ] or [_read(sample_photograph(), channels, "proof")]
    if len(pictures) == 1:
        pictures.append(_mirrored_middle(pictures[0]))
    return pictures


def _batch(
    detector: nn.Module, picture: Picture, shape: tuple[int, ...], place: str
) -> torch.Tensor:
    count, _, height, width = shape
    return _prepared(detector, [_varied(picture, k) for k in range(count)], height, width, place)


def imaginary_sample(recipe: Recipe, detector: nn.Module, place: str) -> tuple[torch.Tensor, ...]:
    """Return one sample of synthetic pictures, the same for every recipe with this input size.

    They are sums of blocks of 1 to 64 pixels whose contrast grows with the block, as it does in
    photographs (Field, "Relations between the statistics of natural images", JOSA A, 1987).
    """
    (spec,) = recipe.export.inputs
    count, channels, height, width = spec.shape
    generator = np.random.Generator(np.random.Philox(key=0))
    pictures = [_synthetic(generator, height, width, channels) for _ in range(count)]
    return (_prepared(detector, pictures, height, width, place),)


def _synthetic(generator: np.random.Generator, height: int, width: int, channels: int) -> Picture:
    canvas = np.full((height, width, channels), 110.0)
    for side, contrast in ((1, 6.0), (4, 12.0), (16, 25.0), (64, 45.0)):
        shape = (-(-height // side), -(-width // side), channels)
        blocks = contrast * generator.standard_normal(shape)
        canvas += blocks.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
    return canvas.clip(0, 255).astype(np.uint8)


def _read(path: Path, channels: int, place: str) -> Picture:
    # Read as gray, not converted: a JPEG file stores brightness, which a conversion would change.
    picture = cv2.imread(str(path), _READ_AS[channels])
    if picture is None:
        raise ExportError.at(
            place, f"'{path.name}' cannot be read", "expected a picture file (JPEG, PNG, …)"
        )
    return picture.reshape(*picture.shape[:2], channels)


def _mirrored_middle(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    return picture[height // 8 : -height // 8, width // 8 : -width // 8][:, ::-1].copy()


def _varied(picture: Picture, index: int) -> Picture:
    """Return the picture at `index` of a batch: no two have the same pixels."""
    return np.roll(picture, index * picture.shape[1] // 3, axis=1)


def _prepared(
    detector: nn.Module, pictures: list[Picture], height: int, width: int, place: str
) -> torch.Tensor:
    """Return pictures as (N, C, H, W) float32, normalized by the detector's data preprocessor.

    Raises ExportError, at `place`, for a preprocessor that returns no such batch.
    """
    tensors = [
        torch.from_numpy(_fitted(picture, height, width).transpose(2, 0, 1).copy())
        for picture in pictures
    ]
    batch = {"inputs": tensors, "data_samples": None}
    preprocessor: Any = detector.data_preprocessor
    try:
        prepared: torch.Tensor = preprocessor(batch, False)["inputs"]
        return prepared[:, :, :height, :width].contiguous()
    except Exception as error:  # a user's preprocessor may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        what = (
            f"its data preprocessor, a {type(preprocessor).__name__}, returns no batch of pictures"
        )
        expected = "expected 'inputs' (N, C, H, W)"
        raise ExportError.at(place, f"{what}: {reason}", expected) from error


def _fitted(picture: Picture, height: int, width: int) -> Picture:
    """Return `picture` scaled to fit, with its aspect ratio, top left on a grey canvas."""
    scale = min(height / picture.shape[0], width / picture.shape[1])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    canvas = np.full((height, width, picture.shape[2]), 114, dtype=np.uint8)
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    canvas[: size[1], : size[0]] = scaled.reshape(*scaled.shape[:2], -1)  # cv2 drops a lone one
    return canvas
