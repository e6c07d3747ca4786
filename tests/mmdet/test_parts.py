"""The detector inside of a tracker: exported by name, and what mmdet's tracker runs itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from partition_core.base.errors import ExportError
from partition_core.recipe.values import (
    Checkpoint,
    ExportOptions,
    MmdetModel,
    Seed,
    TensorSpec,
    canonical_json,
)
from partition_core.sources.mmdet.detector import build_detector, quiet_mmdet
from partition_core.sources.mmdet.preparation import picture_input
from partition_core.trace.checkpoint import load_state

QDTRACK = "qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py"
TRACKERS = {
    "ByteTrack": "bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_"
    "test-mot17halfval.py",
    "DeepSORT": "deepsort/deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py",
    "MaskTrackRCNN": "masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py",
    "OCSORT": "ocsort/ocsort_yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_test-mot17halfval.py",
    "QDTrack": QDTRACK,
    "StrongSORT": "strongsort/strongsort_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_"
    "test-mot17halfval.py",
    "Mask2FormerVideo": "mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2021.py",
}
YOLOX = "yolox/yolox_tiny_8xb8-300e_coco.py"
SOFT_TEACHER = "soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py"
SMALL = {
    "model.detector.backbone.depth": 18,
    "model.detector.neck.in_channels": [64, 128, 256, 512],
    "model.detector.test_cfg.rpn.nms_pre": 50,
}
EXPORT = ExportOptions((TensorSpec("input", (1, 3, 96, 96), "float32"),), (), (), 20)

pytestmark = pytest.mark.filterwarnings("ignore")


def built(root: Path, config: str, part: str = "", **overrides: Any) -> Any:
    values = tuple(sorted((key, canonical_json(value)) for key, value in overrides.items()))
    return build_detector(MmdetModel(config, values, Seed(0), part=part), root, "model.config")


def refusal(*args: Any) -> str:
    with pytest.raises(ExportError) as error:
        built(*args)
    (told,) = error.value.problems
    return str(told)


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_tracker_is_refused_with_what_to_write(kind: str, tmp_path: Path) -> None:
    remedy = "; write 'part: detector' to export the detector inside"
    assert refusal(tmp_path, TRACKERS[kind]) == (
        f"model.config: config '{TRACKERS[kind]}' is of a {kind}, which follows objects through a "
        f"video, but a recipe has only a picture; expected a detector"
        f"{remedy if kind != 'Mask2FormerVideo' else ''}"
    )


@pytest.mark.parametrize(
    ("part", "remedy"), [("detecter", "; did you mean 'detector'?"), ("track_head", "")]
)
def test_a_part_that_is_no_detector_is_refused(part: str, remedy: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, QDTRACK, part) == (
        f"model.part: the model of config '{QDTRACK}' has no detector '{part}'; expected one of "
        f"'detector'{remedy}"
    )


def test_a_detector_alone_has_no_other_inside(tmp_path: Path) -> None:
    assert refusal(tmp_path, YOLOX, "detector") == (
        f"model.part: the model of config '{YOLOX}' has no detector 'detector'; there is none to "
        "choose from"
    )


def test_a_part_without_a_preprocessor_of_its_own_keeps_that_of_the_whole(tmp_path: Path) -> None:
    _, config = built(
        tmp_path, SOFT_TEACHER, "detector", **{"model.detector.data_preprocessor": None}
    )
    assert config.model.data_preprocessor.mean == [103.53, 116.28, 123.675]


def test_what_is_exported_is_what_the_tracker_runs_on_each_picture(tmp_path: Path) -> None:
    ours, config = built(tmp_path, QDTRACK, "detector", **SMALL)
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample, TrackDataSample
    from mmengine.config import Config
    from mmengine.structures import InstanceData

    from partition_core.sources.mmdet.configs import find_config

    whole = Config.fromfile(str(find_config(QDTRACK, tmp_path, "x")))
    whole.merge_from_dict(SMALL)
    whole.model.detector.pop("init_cfg")
    whole.model.detector.backbone.pop("init_cfg")
    with quiet_mmdet():
        tracker = MODELS.build(whole.model).eval()
    tracker.detector.load_state_dict(ours.detector.state_dict())

    picture = torch.randint(0, 256, (3, 96, 96), generator=torch.Generator().manual_seed(3))
    preprocess = ours.detector.data_preprocessor
    given = preprocess({"inputs": [picture], "data_samples": None}, False)["inputs"]
    video = {"inputs": [picture[None]], "data_samples": [TrackDataSample()]}
    video["data_samples"][0].video_data_samples = [
        DetDataSample(
            metainfo={"img_shape": (96, 96), "ori_shape": (96, 96), "scale_factor": (1, 1)}
        )
    ]
    prepared = tracker.data_preprocessor(video, False)
    seen: list[Any] = []

    def track(data_sample: Any, **_: Any) -> Any:
        seen.append(data_sample.pred_instances)
        return InstanceData()

    tracker.tracker = SimpleNamespace(track=track, reset=lambda: None)
    prepared["data_samples"][0][0].set_metainfo({"frame_id": 0})
    with torch.no_grad():
        tracker.predict(prepared["inputs"], prepared["data_samples"])
        found = ours(given)
    torch.testing.assert_close(given, prepared["inputs"][:, 0])
    (one,) = seen
    assert len(one) > 0
    assert torch.equal(found["dets"][0, :, :4], one.bboxes)
    assert torch.equal(found["dets"][0, :, 4], one.scores)
    assert picture_input(config, EXPORT).mean == (103.53, 116.28, 123.675)


def test_pictures_are_prepared_as_the_tracker_prepares_those_of_a_video(tmp_path: Path) -> None:
    _, config = built(tmp_path, TRACKERS["DeepSORT"], "detector")
    told = picture_input(config, EXPORT)
    assert (told.channels, told.pad_divisor) == ("RGB", 32)
    assert told.resize is not None
    assert told.resize.keep_ratio


@pytest.mark.parametrize("below", ["", "detector."])
def test_a_checkpoint_is_the_trackers_or_the_detectors(below: str, tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 3)
    weights = {f"{below}{name}": torch.randn(t.shape) for name, t in model.state_dict().items()}
    rest = {"track_head.weight": torch.ones(2)} if below else {}
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": weights | rest}, file)
    load_state(model, Checkpoint("weights.pth", "0" * 64), file, "model.weights", "detector")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[f"{below}{name}"])
    if below:
        with pytest.raises(ExportError, match="does not fit the model"):
            load_state(model, Checkpoint("weights.pth", "0" * 64), file, "model.weights")
