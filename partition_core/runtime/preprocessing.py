"""Converts pictures to model inputs as the manifest describes, and boxes back; no mmdet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partition_core.base.arrays import Array
from partition_core.base.errors import Place, RunError
from partition_core.chain.manifest import Manifest
from partition_core.chain.picture import PictureInput, up_to_multiple
from partition_core.runtime import pixels


@dataclass(frozen=True)
class Frame:
    """The position of a picture of `width` x `height` pixels in the input: top left, scaled by `x`
    and `y`."""

    width: int
    height: int
    x: float
    y: float

    def boxes_in_picture(self, boxes: Array) -> Array:
        """Return boxes (K, 4) of the input, x1 y1 x2 y2, in the picture's pixels, clipped to it."""
        scaled = boxes / np.array([self.x, self.y, self.x, self.y], dtype=boxes.dtype)
        edges = np.array([self.width, self.height, self.width, self.height], dtype=boxes.dtype)
        return np.asarray(scaled.clip(0, edges))


@dataclass(frozen=True)
class Prepared:
    """A batch of pictures: `inputs` for a `Pipeline`, and the `frames` to map boxes back."""

    inputs: dict[str, Array]
    frames: tuple[Frame, ...]


def prepared(manifest: Manifest, pictures: Sequence[str | Path | Array]) -> Prepared:
    """Return pictures as one batch of the model's input, NCHW of its dtype.

    A picture is a file or an array uint8: (H, W, 3), blue first, or (H, W) for a model that takes
    gray pictures. Raises RunError for anything else, and if the manifest does not describe how
    pictures are prepared.
    """
    how = manifest.picture
    if how is None:
        raise RunError.at(
            Place(str(manifest.file)),
            "does not describe how a picture becomes the model's input",
            manifest.picture_unknown or "the model is not an mmdet detector",
            "prepare the tensors yourself and call the pipeline with them",
        )
    if not pictures:
        raise RunError.at("pictures", "none given", "expected at least one")
    framed = [_normalized(_pixels(picture, how.channel_count), how) for picture in pictures]
    frames = tuple(frame for _, frame in framed)
    return Prepared({how.input: _batch([array for array, _ in framed], how)}, frames)


def _pixels(picture: str | Path | Array, channels: int) -> Array:
    if isinstance(picture, str | Path):
        return pixels.read(Path(picture), channels)
    array = picture[:, :, None] if channels == 1 and picture.ndim == 2 else picture
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == channels and array.size:
        return array
    raise RunError.at(
        "picture",
        f"it is an array {picture.dtype}{list(picture.shape)}",
        "expected uint8[H, W, 3], blue first as cv2 reads it"
        if channels == 3
        else "expected uint8[H, W], gray as cv2.IMREAD_GRAYSCALE reads it",
    )


def _normalized(picture: Array, how: PictureInput) -> tuple[Array, Frame]:
    """Return the picture as float32 (C, H, W), before the last padding, and its frame."""
    height, width = picture.shape[:2]
    picture = picture.astype(how.pixels, copy=False)
    new_width, new_height = how.resized(width, height)
    if how.resize:
        picture = pixels.resized(picture, new_width, new_height, how.resize.interpolation)
    if how.pad:
        picture = _padded(picture, how.pad.value, how)
    if how.channels == "RGB":
        picture = picture[:, :, ::-1]
    array = np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
    if how.mean:
        mean, std = (np.array(v, dtype=np.float32).reshape(-1, 1, 1) for v in (how.mean, how.std))
        array = (array - mean) / std
    return array, Frame(width, height, new_width / width, new_height / height)


def _padded(picture: Array, value: tuple[float, ...], how: PictureInput) -> Array:
    width, height = how.padded(picture.shape[1], picture.shape[0])
    canvas = np.empty((height, width, how.channel_count), dtype=picture.dtype)
    canvas[:] = np.round(value) if how.pixels == "uint8" else value  # as cv2 does
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    return canvas


def _batch(arrays: list[Array], how: PictureInput) -> Array:
    """Return normalized pictures as one batch: of the input's size, or that of the largest."""
    sizes = [
        fixed or up_to_multiple(max(array.shape[axis] for array in arrays), how.pad_divisor)
        for axis, fixed in ((1, how.height), (2, how.width))
    ]
    batch = np.full((len(arrays), how.channel_count, *sizes), how.pad_value, dtype=np.float32)
    for target, array in zip(batch, arrays, strict=True):
        _, height, width = array.shape
        if height > sizes[0] or width > sizes[1]:
            raise RunError.at(
                "picture",
                f"it has {width} x {height} pixels, and the config does not resize it",
                f"expected at most {sizes[1]} x {sizes[0]}",
            )
        target[:, :height, :width] = array
    return batch.astype(how.dtype, copy=False)
