"""Pictures are prepared as mmdet's own test pipeline and data preprocessor prepare them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from partition_core import Pipeline, RunError
from partition_core.base.errors import Place
from partition_core.chain.manifest import Manifest
from partition_core.chain.picture import PictureInput
from partition_core.recipe.values import DynamicAxis, ExportOptions, TensorSpec
from partition_core.runtime.preprocessing import Prepared, prepared
from partition_core.sources.mmdet.configs import find_config
from partition_core.sources.mmdet.detector import quiet_mmdet
from partition_core.sources.mmdet.ops import provide_compiled_ops
from partition_core.sources.mmdet.preparation import picture_notes

FREE = (DynamicAxis("input", 2, "h"), DynamicAxis("input", 3, "w"))
CONFIGS = {
    "keep the ratio": ("yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py", (320, 320)),
    "stretch": ("ssd/ssd300_coco.py", (300, 300)),
    "pad to a size": ("rtmdet/rtmdet_tiny_8xb32-300e_coco.py", (640, 640)),
    "pad to a square, do not normalize": ("yolox/yolox_s_8xb8-300e_coco.py", (640, 640)),
    "two sides": ("retinanet/retinanet_r18_fpn_1x_coco.py", (1344, 800)),
    "blue first": ("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", (1344, 800)),
    "float pixels": ("mask2former/mask2former_r50_8xb2-lsj-50e_coco.py", (1344, 800)),
}

ALL_FIT = ("stretch", "pad to a size", "pad to a square, do not normalize")


@pytest.fixture(autouse=True)
def quiet():
    with quiet_mmdet():
        provide_compiled_ops()
        from mmdet.utils import register_all_modules

        register_all_modules()
        yield


def config_of(name: str) -> Config:
    return Config.fromfile(str(find_config(name, Path(), Place())))


def notes(config: Config, size: tuple[int, int], free: bool = False, channels: int = 3) -> dict:
    """Return what the export tells of pictures, after a way through JSON."""
    spec = TensorSpec("input", (1, channels, *size), "float32")
    export = ExportOptions((spec,), (), FREE if free else (), 20)
    told = picture_notes(config, SimpleNamespace(), export)
    return json.loads(json.dumps(told))


def ours(told: dict, *pictures: object) -> Prepared:
    manifest = Manifest(
        folder=Path("build/x"),
        recipe="x",
        segments=(),
        edges=(),
        inputs=("input",),
        detects=True,
        picture=PictureInput.of(told["picture"]) if "picture" in told else None,
        picture_unknown=told.get("picture_unknown", ""),
        classes=(),
    )
    return prepared(manifest, pictures)


def theirs(config: Config, *files: Path) -> tuple[np.ndarray, list[dict]]:
    """Return the batch that mmdet makes of picture files, and what it notes of each."""
    from mmdet.registry import MODELS
    from mmdet.utils import get_test_pipeline_cfg
    from mmengine.dataset import Compose

    pipeline = Compose(get_test_pipeline_cfg(config))
    made = [pipeline({"img_path": str(file), "img_id": 0}) for file in files]
    batch = {key: [one[key] for one in made] for key in ("inputs", "data_samples")}
    result = MODELS.build(config.model.data_preprocessor)(batch, False)
    return result["inputs"].numpy(), [one.metainfo for one in result["data_samples"]]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("free", [False, True])
def test_the_photograph_is_prepared_as_by_mmdet(name: str, free: bool, photograph: Path) -> None:
    file, size = CONFIGS[name]
    config = config_of(file)
    told = notes(config, size, free)
    (array,) = ours(told, photograph).inputs.values()
    expected, (meta,) = theirs(config, photograph)
    height, width = expected.shape[2:]
    assert array.dtype == np.float32
    assert expected.std() > 0.5
    assert array.shape == (expected.shape if free else (1, 3, *size))
    assert np.array_equal(array[:, :, :height, :width], expected)
    beyond = array.copy()
    beyond[:, :, :height, :width] = told["picture"]["pad_value"]
    assert (beyond == told["picture"]["pad_value"]).all()
    (frame,) = ours(told, photograph).frames
    assert (frame.height, frame.width) == meta["ori_shape"]
    assert (frame.x, frame.y) == meta["scale_factor"]


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_told_of_which_pictures_mmdet_makes_another_input(name: str, tmp_path: Path) -> None:
    file, (width, height) = CONFIGS[name]
    config = config_of(file)
    told = notes(config, (height, width))
    how = PictureInput.of(told["picture"])
    answers = set()
    for size in ((40, 40), (40, 24), (24, 40), (64, 3), (3, 64), (39, 40), (50, 30)):
        picture = tmp_path / "picture.png"
        cv2.imwrite(str(picture), np.full((*size[::-1], 3), 90, np.uint8))
        expected, _ = theirs(config, picture)
        answers.add(how.fits(*size))
        assert how.fits(*size) is (expected.shape[2:] == (height, width)), size
        assert PictureInput.of(notes(config, (height, width), True)["picture"]).fits(*size)
    assert (how.note == "") is (False not in answers) is ("picture_note" not in told)
    assert (False not in answers) is (name in ALL_FIT)


def changed(name: str, **settings: object) -> tuple[Config, tuple[int, int]]:
    """Return a config of `CONFIGS` with other settings, and the size of its input."""
    file, size = CONFIGS[name]
    config = config_of(file)
    config.merge_from_dict(settings)
    return config, size


READ = "test_dataloader.dataset.pipeline.0"
PAD = "test_dataloader.dataset.pipeline.2"
GRAY = {
    f"{READ}.color_type": "grayscale",
    "model.data_preprocessor.mean": [110],
    "model.data_preprocessor.std": [60],
    "model.data_preprocessor.bgr_to_rgb": False,
}
CHANGED = {
    "gray": (1, "keep the ratio", GRAY),
    "gray, padded with a number": (1, "pad to a size", {**GRAY, PAD: {"pad_val": {"img": 114}}}),
    "gray, padded with a fraction": (
        *(1, "pad to a size"),
        {**GRAY, PAD: {"pad_val": {"img": 114.7}}},
    ),
    "gray floats": (1, "stretch", {**GRAY, f"{READ}.to_float32": True}),
    "colour, one mean": (
        *(3, "keep the ratio"),
        {"model.data_preprocessor.mean": [110], "model.data_preprocessor.std": [60]},
    ),
    # cv2 takes a number with a point for the first channel alone.
    "colour, padded with a number with a point": (
        *(3, "pad to a size"),
        {PAD: {"pad_val": {"img": 114.0}}},
    ),
}


@pytest.mark.parametrize(("channels", "name", "settings"), CHANGED.values(), ids=CHANGED)
def test_channels_are_read_padded_and_normalized_as_by_mmdet(
    channels: int, name: str, settings: dict, photograph: Path
) -> None:
    config, size = changed(name, **settings)
    told = notes(config, size, channels=channels)
    assert (told["picture"]["channels"] == "GRAY") is (channels == 1)
    (array,) = ours(told, photograph).inputs.values()
    expected, _ = theirs(config, photograph)
    assert array.shape == (1, channels, *size)
    assert expected.std() > 0.5
    height, width = expected.shape[2:]
    assert np.array_equal(array[:, :, :height, :width], expected)
    if channels == 1:
        plain = cv2.imread(str(photograph), cv2.IMREAD_GRAYSCALE)
        for given in (plain, plain[:, :, None]):
            assert np.array_equal(ours(told, given).inputs["input"], array)


@pytest.mark.parametrize(
    ("channels", "name", "settings", "reason"),
    [
        (
            1,
            "keep the ratio",
            {},
            "reads pictures in color, with 3 channels, and the model takes 1",
        ),
        (
            *(3, "keep the ratio", {f"{READ}.color_type": "grayscale"}),
            "reads pictures in grayscale, with 1 channel, and the model takes 3",
        ),
        (
            *(3, "keep the ratio", {f"{READ}.color_type": "unchanged"}),
            "reads pictures as 'unchanged'",
        ),
        (1, "pad to a size", GRAY, "pads 1 channel with 3 values"),
        (
            *(3, "pad to a size", {PAD: {"pad_val": {"img": [114, 114]}}}),
            "pads 3 channels with 2 values",
        ),
    ],
)
def test_a_pipeline_that_gives_other_channels_is_named(
    channels: int, name: str, settings: dict, reason: str, photograph: Path
) -> None:
    config, size = changed(name, **settings)
    told = notes(config, size, channels=channels)
    assert "picture" not in told
    with pytest.raises(RunError, match=rf"the test pipeline {reason}.*call the pipeline"):
        ours(told, photograph)


def test_an_array_of_other_channels_is_told(photograph: Path) -> None:
    config, size = changed("keep the ratio", **GRAY)
    told = notes(config, size, channels=1)
    with pytest.raises(RunError, match=r"uint8\[600, 512, 3\]; expected uint8\[H, W\], gray"):
        ours(told, cv2.imread(str(photograph)))
    told["picture"]["channels"] = "CMYK"
    with pytest.raises(ValueError, match="CMYK"):
        ours(told)


def test_pictures_of_other_sizes_share_a_canvas(photograph: Path, tmp_path: Path) -> None:
    config = config_of(CONFIGS["two sides"][0])
    wide = tmp_path / "wide.png"
    cv2.imwrite(str(wide), cv2.imread(str(photograph))[100:300])
    (array,) = ours(notes(config, (800, 1344), free=True), photograph, wide).inputs.values()
    expected, _ = theirs(config, photograph, wide)
    assert len({array.shape[2], array.shape[3], 800}) > 1
    assert np.array_equal(array, expected)


def test_an_input_that_the_config_does_not_know_is_filled(photograph: Path) -> None:
    told = notes(config_of(CONFIGS["two sides"][0]), (160, 256))
    assert told["picture"]["resize"]["scale"] == [256, 160]
    prepared_ = ours(told, photograph)
    (array,), (frame,) = prepared_.inputs.values(), prepared_.frames
    assert array.shape == (1, 3, 160, 256)
    width = round(512 * 160 / 600)  # the photograph has 512 x 600 pixels
    assert (array[0, :, :, :width] != 0).mean() > 0.99
    assert (array[0, :, :, width:] == 0).all()
    corners = np.array([[0, 0, width, 160], [-9, 8, 999, 16]], np.float32)
    np.testing.assert_allclose(
        frame.boxes_in_picture(corners), [[0, 0, 512, 600], [0, 30, 512, 60]], atol=1e-3
    )


def test_a_pipeline_that_cannot_be_told_is_named(photograph: Path) -> None:
    told = notes(config_of("centernet/centernet_r18_8xb16-crop512-140e_coco.py"), (512, 512))
    assert "picture" not in told
    with pytest.raises(RunError, match=r"has the steps RandomCenterCropPad.*call the pipeline"):
        ours(told, photograph)


def test_class_names_are_those_of_the_data_set_if_they_fit() -> None:
    config = config_of(CONFIGS["stretch"][0])
    export = ExportOptions((TensorSpec("input", (1, 3, 300, 300), "float32"),), (), (), 20)

    def names(count: int) -> list[str]:
        head = SimpleNamespace(bbox_head=SimpleNamespace(num_classes=count))
        return picture_notes(config, head, export).get("classes", [])

    assert names(80)[:2] == ["person", "bicycle"] and len(names(80)) == 80
    assert names(3) == []
    config.test_dataloader.dataset.metainfo = {"classes": ("a", "b", "c")}
    assert names(3) == ["a", "b", "c"]


def test_a_picture_that_cannot_be_read_is_told(detector_build: Path, tmp_path: Path) -> None:
    pipeline = Pipeline(detector_build)
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.jpg").touch()
    for name, message in (
        ("text.jpg", r"text\.jpg: is not a picture"),
        ("empty.jpg", r"empty\.jpg: is not a picture"),
        ("none.jpg", r"none\.jpg: cannot be read: No such file"),
    ):
        with pytest.raises(RunError, match=message):
            pipeline.detect(tmp_path / name)
    with pytest.raises(RunError, match=r"float32\[4, 4, 3\]; expected uint8\[H, W, 3\]"):
        pipeline.detect(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(RunError, match="none given"):
        pipeline.preprocess()


def test_a_model_that_is_no_detector_takes_no_picture(tiny_build: Path, photograph: Path) -> None:
    with pytest.raises(RunError, match="does not describe how a picture becomes the model's input"):
        Pipeline(tiny_build).preprocess(photograph)
    with pytest.raises(RunError, match="its segments give output; expected a detector's"):
        Pipeline(tiny_build).detect(photograph)


def test_the_record_survives_json_and_refuses_less() -> None:
    told = notes(config_of(CONFIGS["pad to a size"][0]), (640, 640))["picture"]
    assert PictureInput.of(told).plain() == json.loads(
        json.dumps(dataclasses.asdict(PictureInput.of(told))), object_hook=_tuples
    )
    del told["mean"]
    with pytest.raises(KeyError):
        PictureInput.of(told)


def _tuples(one: dict) -> dict:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in one.items()}
