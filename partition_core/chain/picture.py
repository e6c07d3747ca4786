"""How a picture becomes the input of a detector, as values of a manifest; pure.

The order is that of mmdet's test pipeline and data preprocessor: read (blue first, or gray),
resize, pad pixels, order channels, normalize, pad again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}
"""How many channels a picture has, by their order."""
PICTURE_CHANNELS = frozenset(CHANNELS.values())
_SHAPES = ((1000, 1000), (1000, 1), (1, 1000))
"""A square picture, a wide and a tall one: if these fit an input, all do."""


@dataclass(frozen=True)
class Resize:
    """The picture is scaled to `scale`, a width and a height.

    With `keep_ratio` its longer side becomes at most the longer of the two, its shorter side at
    most the shorter (mmcv's `rescale_size`), and it is never larger than a fixed input.
    `interpolation` is one of cv2's: nearest, bilinear, bicubic, area, lanczos.
    """

    scale: tuple[int, int]
    keep_ratio: bool
    interpolation: str


@dataclass(frozen=True)
class PixelPad:
    """Pixels of `value` are added on the right and at the bottom.

    Up to `size` (a width and a height), or until it is a `square`, and until both sides are
    multiples of `divisor`. `value` has one number for each channel, in the order of the file.
    """

    value: tuple[float, ...]
    size: tuple[int, int] | None = None
    square: bool = False
    divisor: int = 1


@dataclass(frozen=True)
class PictureInput:
    """Everything between a picture file and the input `input` of a model, NCHW of `dtype`.

    `height` and `width` are those of the input, or None if they are free. `pixels` is the dtype
    in which a picture is resized. `channels` is the order, `RGB` or `BGR`, in which the model
    takes them, or `GRAY` if it takes one; `mean` and `std` follow it (a single number is that of
    every channel), and are empty if nothing is normalized. What is
    normalized is padded with `pad_value` to a fixed input, or to multiples of `pad_divisor`.
    """

    input: str
    height: int | None
    width: int | None
    pixels: str
    resize: Resize | None
    pad: PixelPad | None
    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad_value: float
    pad_divisor: int
    dtype: str = "float32"

    @property
    def channel_count(self) -> int:
        """How many channels the model's pictures have."""
        return CHANNELS[self.channels]

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height of a picture after resizing (mmcv's `rescale_size`)."""
        if self.resize is None:
            return width, height
        scale = self.resize.scale
        if not self.resize.keep_ratio:
            return scale
        factor = min(
            max(scale) / max(width, height),
            min(scale) / min(width, height),
            *([self.width / width] if self.width else []),
            *([self.height / height] if self.height else []),
        )
        return max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5))

    def padded(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height of a resized picture after pixel padding.

        Padding does not go beyond a fixed input.
        """
        if self.pad is None:
            return width, height
        sides = self.pad.size or ((max(width, height),) * 2 if self.pad.square else (width, height))
        padded = (up_to_multiple(side, self.pad.divisor) for side in sides)
        (right, most_right), (low, lowest) = zip(padded, (self.width, self.height), strict=True)
        return max(width, min(right, most_right or right)), max(height, min(low, lowest or low))

    def fits(self, width: int, height: int) -> bool:
        """Return whether mmdet itself gives a picture this input size.

        Free sizes always do. A fixed input may need more padding, or a smaller picture.
        """
        free = replace(self, width=None, height=None)
        sides = free.padded(*free.resized(width, height))
        by_mmdet = tuple(up_to_multiple(side, self.pad_divisor) for side in sides)
        return all(
            fixed in (None, side)
            for fixed, side in zip((self.width, self.height), by_mmdet, strict=True)
        )

    @property
    def note(self) -> str:
        """A caution about pictures that do not fit; empty if all of them do."""
        if all(self.fits(*shape) for shape in _SHAPES):
            return ""
        size = f"{self.width or 'any'} x {self.height or 'any'}"
        return (
            f"a picture that mmdet's inference_detector would not turn into {size} gets more "
            "padding than there, or is scaled down, so its detections differ; free sizes avoid "
            "this (docs/run.md)"
        )

    def plain(self) -> dict[str, Any]:
        """Return it as plain data for a manifest."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> PictureInput:
        """Return the value of plain data; raises KeyError, TypeError or ValueError."""
        known = {name: plain[name] for name in cls.__dataclass_fields__ if name != "dtype"} | {
            "dtype": str(plain.get("dtype", cls.dtype))
        }
        resize, pad = known["resize"], known["pad"]
        return cls(
            **{
                **known,
                "resize": resize and Resize(**{**resize, "scale": _pair(resize["scale"])}),
                "pad": pad and PixelPad(**_pad_values(pad)),
                "mean": tuple(map(float, known["mean"])),
                "std": tuple(map(float, known["std"])),
                "channels": _known_order(known["channels"]),
            }
        )


def up_to_multiple(side: int, divisor: int) -> int:
    """Return the least multiple of `divisor` that is not below `side`."""
    return -(-side // divisor) * divisor


def _known_order(channels: Any) -> str:
    if channels not in CHANNELS:
        raise ValueError(f"pictures have the channels {channels!r}")
    return str(channels)


def _pad_values(plain: Mapping[str, Any]) -> dict[str, Any]:
    size = plain["size"]
    return {**plain, "value": tuple(plain["value"]), "size": size and _pair(size)}


def _pair(values: Any) -> tuple[int, int]:
    width, height = map(int, values)
    return width, height
