"""Picture preparation and class names from an mmdet config, for a deployment without mmdet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

from torch import nn

from partition_core.base.wording import counted
from partition_core.chain.picture import PictureInput, PixelPad, Resize
from partition_core.recipe.values import ExportOptions

_READ_AS = {"color": 3, "grayscale": 1}
"""The number of channels of a picture, by mmcv's `color_type`."""
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area", "lanczos")
_PREPROCESSOR = "DetDataPreprocessor"
_LEAVES_PIXELS = (
    *("LoadAnnotations", "LoadPanopticAnnotations", "LoadTrackAnnotations"),
    *("PackDetInputs", "PackTrackInputs"),
)
_OF_EACH_PICTURE = "TransformBroadcaster"
"""A step of a tracker's pipeline, with those for each picture of a video."""


class _UnknownError(Exception):
    """The config prepares pictures in a way that no `PictureInput` can express."""


def picture_notes(config: Any, detector: nn.Module, export: ExportOptions) -> dict[str, Any]:
    """Return, as plain data, how pictures are prepared (`picture`) and the `classes` by label.

    `picture` is a `PictureInput`, with its `picture_note` if it has one; for a config that it
    cannot express, `picture_unknown` is the reason instead. `classes` is left out if the names
    are unknown.
    """
    names = _classes(config, detector)
    known = {"classes": names} if names else {}
    try:
        picture = picture_input(config, export)
    except _UnknownError as reason:
        return {"picture_unknown": str(reason), **known}
    note = {"picture_note": picture.note} if picture.note else {}
    return {"picture": picture.plain(), **note, **known}


def picture_input(config: Any, export: ExportOptions) -> PictureInput:
    """Return how the test pipeline of an mmdet `config` prepares pictures for `export`'s input.

    A scale that does not fit a fixed input (a config for 1333 x 800 exported at 320 x 320) is
    replaced by the input's size.
    """
    (spec,) = export.inputs
    free = {axis.axis for axis in export.dynamic_axes if axis.tensor == spec.name}
    height, width = (None if axis in free else spec.shape[axis] for axis in (2, 3))
    last = _preprocessor(config)
    divisor = int(last.get("pad_size_divisor", 1))
    steps = list(_steps(config))
    read = steps[0] if steps else {}
    if read.get("type") != "LoadImageFromFile" or read.get("imdecode_backend", "cv2") != "cv2":
        raise _UnknownError("the test pipeline does not start with LoadImageFromFile by cv2")
    count = spec.shape[1]
    _check_read(str(read.get("color_type", "color")), count)
    resize, pad = _resize(steps[1:2]), None
    if rest := steps[2:] if resize else steps[1:]:
        pad = _pad(rest, count)
    if resize and height and width and not _belongs(resize, pad, (width, height), divisor):
        resize = Resize((width, height), resize.keep_ratio, resize.interpolation)
        pad = pad and PixelPad(pad.value, size=(width, height))
    return PictureInput(
        input=spec.name,
        height=height,
        width=width,
        pixels="float32" if read.get("to_float32") else "uint8",
        resize=resize,
        pad=pad,
        channels="GRAY" if count == 1 else "RGB" if turned(last) else "BGR",
        mean=tuple(map(float, last.get("mean") or ())),
        std=tuple(map(float, last.get("std") or ())),
        pad_value=float(last.get("pad_value", 0)),
        pad_divisor=divisor,
        dtype=export.io_dtype(spec.dtype),
    )


def turned(preprocessor: Mapping[str, Any]) -> str:
    """Return the setting by which a data preprocessor reverses three channels, "" if none does."""
    return next((key for key in ("bgr_to_rgb", "rgb_to_bgr") if preprocessor.get(key)), "")


def _check_read(color_type: str, count: int) -> None:
    known = _READ_AS.get(color_type)
    if known is None:
        raise _UnknownError(f"the test pipeline reads pictures as '{color_type}'")
    if known != count:
        fitting = next(kind for kind, channels in _READ_AS.items() if channels == count)
        raise _UnknownError(
            f"the test pipeline reads pictures in {color_type}, with {counted(known, 'channel')}, "
            f"and the model takes {count}; 'overrides: "
            f"{{test_dataloader.dataset.pipeline.0.color_type: {fitting}}}' would fit"
        )


def _preprocessor(config: Any) -> Mapping[str, Any]:
    part: Mapping[str, Any] = config.model.get("data_preprocessor") or {}
    if _name(part) != _PREPROCESSOR:
        raise _UnknownError(f"the data preprocessor is {_name(part) or 'not named'}")
    return part


def _steps(config: Any) -> Iterator[Mapping[str, Any]]:
    from mmdet.utils import get_test_pipeline_cfg

    try:
        steps = get_test_pipeline_cfg(config)
    except (AttributeError, KeyError, RuntimeError) as error:
        raise _UnknownError("the config has no test pipeline") from error
    for step in steps:
        of_each = step["transforms"] if _name(step) == _OF_EACH_PICTURE else [step]
        for one in of_each:
            if _name(one) not in _LEAVES_PIXELS:
                yield {**one, "type": _name(one)}


def _resize(steps: list[Mapping[str, Any]]) -> Resize | None:
    step = dict(steps[0]) if steps else {}
    if step.get("type") != "Resize":
        return None
    scale = step.get("scale")
    interpolation = step.get("interpolation", "bilinear")
    if scale is None or step.get("backend", "cv2") != "cv2" or interpolation not in _INTERPOLATIONS:
        raise _UnknownError("the test pipeline resizes by a factor or not by cv2")
    pair = (scale, scale) if isinstance(scale, int) else (int(scale[0]), int(scale[1]))
    return Resize(pair, bool(step.get("keep_ratio", False)), interpolation)


def _pad(steps: list[Mapping[str, Any]], count: int) -> PixelPad:
    step = dict(steps[0])
    if (
        len(steps) > 1
        or step["type"] != "Pad"
        or step.get("padding_mode", "constant") != "constant"
    ):
        names = ", ".join(_name(step) for step in steps)
        raise _UnknownError(f"the test pipeline has the steps {names}")
    value = step.get("pad_val", 0)
    value = value.get("img", 0) if isinstance(value, Mapping) else value
    size = step.get("size")
    return PixelPad(
        value=_pad_value(value, count),
        size=(int(size[0]), int(size[1])) if size else None,
        square=bool(step.get("pad_to_square", False)),
        divisor=int(step.get("size_divisor") or 1),
    )


def _pad_value(value: Any, count: int) -> tuple[float, ...]:
    if isinstance(value, int | float):
        # cv2 gets a float unchanged and applies it to the first channel only.
        others = value if isinstance(value, int) else 0.0
        return (float(value), *[float(others)] * (count - 1))
    # mmcv compares the number of values with a picture's last axis: its width if it is gray.
    if len(value) != count or count == 1:
        values = counted(len(value), "value")
        raise _UnknownError(f"the test pipeline pads {counted(count, 'channel')} with {values}")
    return tuple(map(float, value))


def _belongs(resize: Resize, pad: PixelPad | None, size: tuple[int, int], divisor: int) -> bool:
    """Return whether pictures of the config's scale are padded to an input of `size`."""
    box = pad.size if pad and pad.size else resize.scale
    whole = tuple(-(-side // divisor) * divisor for side in box)
    return size in ((whole, whole[::-1]) if resize.keep_ratio else (whole,))


def _classes(config: Any, detector: nn.Module) -> list[str]:
    """Return the class names, if there are as many as the detector has classes.

    A different number means another dataset; a detector that reads names has those.
    """
    names = class_names(config)
    fits = hasattr(detector, "language_model") or _class_count(detector) == len(names)
    return names if fits else []


def class_names(config: Any) -> list[str]:
    """Return the names of the test data set's classes: the config's, else those of its kind."""
    from mmdet.registry import DATASETS

    dataset = _dataset(config)
    names = dict(dataset.get("metainfo") or {}).get("classes")
    if names is None:
        kind = dataset.get("type")
        kind = DATASETS.get(kind) if isinstance(kind, str) else kind
        names = getattr(kind, "METAINFO", {}).get("classes")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return []
    return list(names)


_CLASSIFIERS = ("bbox_head", "roi_head.bbox_head", "mask_head", "panoptic_head")
"""Parts of detectors that classify; a head with several stages is a list."""
_DETECTORS = ("", "student", "teacher", "detector")
"""The attribute of the detector in a wrapper that trains several; "" without a wrapper."""


def _class_count(detector: nn.Module) -> int | None:
    """Return the number of classes of a detector; None if none of its parts has it."""
    for path in (f"{own}.{part}".lstrip(".") for own in _DETECTORS for part in _CLASSIFIERS):
        try:
            part = attrgetter(path)(detector)
        except AttributeError:
            continue
        head = part[-1] if isinstance(part, nn.ModuleList) and len(part) else part
        if isinstance(count := getattr(head, "num_classes", None), int):
            return count
    return None


def _dataset(config: Any) -> Mapping[str, Any]:
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    while "type" in dataset and ("dataset" in dataset or dataset.get("datasets")):
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    innermost: Mapping[str, Any] = dataset
    return innermost


def _name(step: Mapping[str, Any]) -> str:
    kind = step.get("type", "")
    return kind if isinstance(kind, str) else str(getattr(kind, "__name__", kind))
