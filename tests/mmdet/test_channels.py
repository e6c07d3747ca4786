"""How many channels the pictures of a detector have: what the recipe says is what is built."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import (
    ExportOptions,
    MmdetModel,
    Partition,
    Proof,
    Recipe,
    Seed,
    TensorSpec,
)
from partition_core.sources.mmdet.detector import build_detector
from partition_core.sources.mmdet.pictures import picture_samples, sample_photograph
from partition_core.sources.traced import export_recipe
from tests.export.support import quietly

from .detectors import CONFIG

YOLOX = "yolox/yolox_tiny_8xb8-300e_coco.py"
RETINANET = "retinanet/retinanet_r18_fpn_1x_coco.py"
GRAY = {
    "model.data_preprocessor.mean": [0],
    "model.data_preprocessor.std": [255],
    "model.data_preprocessor.bgr_to_rgb": False,
}
ONE_CHANNEL = {"model.backbone.in_channels": 1, **GRAY}
AT = "export.inputs.input.shape: has"
REMEDY = (
    "expected [1, 3, 64, 96]; or, for a model of 1 channel, override 'model.data_preprocessor' "
    "with one number in 'mean' and 'std' and without reversed channels ('bgr_to_rgb: false')"
)


def recipe(config: str, channels: int, pictures: int = 1, **overrides: object) -> Recipe:
    settings = tuple(sorted((key, json.dumps(value)) for key, value in overrides.items()))
    spec = TensorSpec("input", (pictures, channels, 64, 96), "float32")
    return Recipe(
        "x",
        MmdetModel(config, settings, Seed(0)),
        ExportOptions((spec,), (), (), 20),
        (),
        Partition("nothing", ()),
        Proof(1e-4, ()),
    )


@pytest.mark.filterwarnings("ignore")  # reason: mmdet's own, of torch
@pytest.mark.parametrize(
    ("config", "channels", "overrides", "told"),
    [
        pytest.param(
            *(CONFIG, 1, {}),
            "1 channel, but 'mean', 'std', 'bgr_to_rgb' of the model's data preprocessor are for "
            f"3; {REMEDY}",
            id="a preprocessor of three",
        ),
        pytest.param(
            *(CONFIG, 1, dict(list(GRAY.items())[:2])),
            f"1 channel, but 'bgr_to_rgb' of the model's data preprocessor are for 3; {REMEDY}",
            id="a preprocessor that reverses three",
        ),
        pytest.param(
            *(CONFIG, 1, GRAY),
            "1 channel, but the model takes 3; expected [1, 3, 64, 96]",
            id="a model of three behind a preprocessor for any",
        ),
        pytest.param(
            *(YOLOX, 1, {}),
            "1 channel, but the model takes 3; expected [1, 3, 64, 96]",
            id="a model of three that rearranges its pictures, without means",
        ),
        pytest.param(
            *(RETINANET, 3, {"model.backbone.in_channels": 1}),
            "3 channels, but the model takes 1; expected [1, 1, 64, 96]",
            id="a model of one",
        ),
    ],
)
def test_a_number_of_channels_that_the_model_has_not_is_told_before_the_trace(
    config: str,
    channels: int,
    overrides: dict[str, object],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.export, "export", None)
    with pytest.raises(ExportError) as error:
        export_recipe(recipe(config, channels, **overrides), tmp_path, None, quietly)
    assert str(error.value) == f"{AT} {told}"


def test_a_detector_that_fails_for_another_reason_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmdet.models.dense_heads import YOLOV3Head

    monkeypatch.setattr(YOLOV3Head, "predict_by_feat", None)
    with pytest.raises(ExportError) as error:
        export_recipe(recipe(CONFIG, 3), tmp_path, None, quietly)
    assert str(error.value) == (
        "model: the model does not run in PyTorch; TypeError: 'NoneType' object is not callable"
    )


def test_the_photograph_of_a_proof_is_read_gray_and_every_place_of_a_batch_differs(
    tmp_path: Path,
) -> None:
    given = recipe(RETINANET, 1, 2, **ONE_CHANNEL)
    assert isinstance(given.model, MmdetModel)
    module, _ = build_detector(given.model, tmp_path, "model")
    samples = [sample for (sample,) in picture_samples(given, module.detector, tmp_path)]
    assert [tuple(sample.shape) for sample in samples] == [(2, 1, 64, 96)] * 2
    pictures = [picture.numpy() for sample in samples for picture in sample]
    assert all((one != other).any() for one, other in itertools.combinations(pictures, 2))
    gray = cv2.imread(str(sample_photograph()), cv2.IMREAD_GRAYSCALE)
    fitted = cv2.resize(gray, (round(512 * 64 / 600), 64)).astype(np.float32) / 255
    np.testing.assert_array_equal(pictures[0][0, :, : fitted.shape[1]], fitted)
    assert (pictures[0][0, :, fitted.shape[1] :] == np.float32(114) / 255).all()


def test_an_override_may_be_what_the_class_takes_and_the_config_leaves_out(tmp_path: Path) -> None:
    def built(**overrides: object) -> object:
        model = recipe(RETINANET, 3, **overrides).model
        assert isinstance(model, MmdetModel)
        detector, config = build_detector(model, tmp_path, "model.config")
        assert config.model.data_preprocessor.type == "DetDataPreprocessor"
        return detector.detector.backbone.conv1.in_channels

    assert built() == 3
    assert built(**{"model.backbone.in_channels": 5}) == 5
    # Of a class that hands the rest on to its base.
    resnext = {"model.backbone.type": "ResNeXt", "model.backbone.depth": 50}
    assert built(**resnext, **{"model.backbone.in_channels": 5, "model.neck.in_channels": [1] * 4})
    for key, near in (
        ("model.backbone.in_chanels", "model.backbone.in_channels"),
        ("model.neck.in_chanels", "model.neck.in_channels"),
        ("model.backbon.in_channels", "model.backbone"),
        ("test_dataloader.dataset.pipeline.0.colour_type",) * 2,
    ):
        with pytest.raises(ExportError) as error:
            built(**{key: 1})
        assert f"has no '{key}' to override" in str(error.value)
        if near != key:
            assert f"did you mean '{near}'?" in str(error.value)
