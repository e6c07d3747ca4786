"""The whole exported detector against mmdet's own `predict`, and the configs it is made of."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from partition_core.base.errors import ExportError, Place
from partition_core.recipe.values import MmdetModel, Seed
from partition_core.sources.mmdet.configs import config_closure, config_label, find_config
from partition_core.sources.mmdet.detector import _use_plain_parts, build_detector
from partition_core.trace.mark_op import complete_marks
from partition_core.trace.older_opset import to_older_opset
from partition_core.trace.symbolic_calls import best_first
from tests.export.support import saved

from .detectors import CONFIG, SIZE, Built, mmdet_predicts

NOISE = 1e-4
"""What the two runtimes may differ by: PyTorch has BatchNorms, the graph has them folded."""

PLACE = Place("recipes/x.yaml", 4, "model.config")


def photographs(built: Built) -> list[np.ndarray]:
    """Return the prepared pictures of the proof, and variations that move every feature."""
    found = [built.recording.samples[number].inputs["input"] for number in (0, 1)]
    random = np.random.default_rng(3)
    noise = random.standard_normal(found[0].shape).astype(np.float32) * 0.05
    return [*found, found[0][..., ::-1].copy(), found[1][:, :, ::-1].copy(), found[0] + noise]


@pytest.mark.parametrize(
    "number", [0, 4, *(pytest.param(number, marks=pytest.mark.thorough) for number in (1, 2, 3))]
)
def test_detections_are_those_of_mmdets_predict_in_the_same_order(yolo: Built, number: int) -> None:
    picture = photographs(yolo)[number]
    ((dets, labels),) = mmdet_predicts(yolo, picture)
    found = yolo.whole(picture)
    assert len(labels) > 20
    assert len(set(labels.tolist())) > 3
    # Where neighbours tie within the noise of two runtimes their order is not mmdet's word.
    gaps = np.diff(dets[:, 4])
    tied = np.zeros(len(labels), bool)
    tied[:-1] |= gaps > -NOISE
    tied[1:] |= gaps > -NOISE
    assert tied.mean() < 0.5
    np.testing.assert_array_equal(found["labels"][0][~tied], labels[~tied])
    np.testing.assert_allclose(found["dets"][0, :, 4], dets[:, 4], atol=NOISE)
    np.testing.assert_allclose(found["dets"][0][~tied], dets[~tied], atol=SIZE * NOISE)
    assert sorted(found["labels"][0].tolist()) == sorted(labels.tolist())


def test_a_picture_without_a_feature_and_one_of_noise_give_what_mmdet_gives(yolo: Built) -> None:
    random = np.random.default_rng(1)
    for picture in (
        np.zeros((1, 3, SIZE, SIZE), np.float32),
        random.standard_normal((1, 3, SIZE, SIZE)).astype(np.float32) * 3,
    ):
        ((dets, labels),) = mmdet_predicts(yolo, picture)
        found = yolo.whole(picture)
        assert found["dets"].shape == (1, len(labels), 5)
        np.testing.assert_allclose(found["dets"][0, :, 4], dets[:, 4], atol=NOISE)


# Of each run the proof of a detector, in `tests/proving`, has two pictures in a batch.
@pytest.mark.thorough
def test_each_picture_of_a_batch_gives_what_it_gives_alone(pair: Built) -> None:
    first, second = photographs(pair)[0][:1], photographs(pair)[1][:1]
    together = pair.whole(np.concatenate([first, second]))
    alone = mmdet_predicts(pair, np.concatenate([first, second]))
    for picture, (dets, labels) in enumerate(alone):
        assert len(labels) == 20
        np.testing.assert_allclose(together["dets"][picture, :, 4], dets[:, 4], atol=NOISE)
        assert sorted(together["labels"][picture].tolist()) == sorted(labels.tolist())


def test_the_marked_maps_are_those_of_mmdets_head(yolo: Built) -> None:
    import torch

    picture = photographs(yolo)[0]
    maps = yolo.run(yolo.folder / "yolov3.onnx", {"input": picture})
    expected = yolo.subject.user_module._forward(torch.from_numpy(picture))  # type: ignore[operator]
    assert list(maps) == ["pred_maps.0", "pred_maps.1", "pred_maps.2"]
    for found, tensor in zip(maps.values(), expected[0], strict=True):
        assert tensor.std() > 0.5
        np.testing.assert_allclose(found, tensor, atol=NOISE * float(tensor.abs().max()))


def test_no_batch_norm_is_left_and_every_weight_belongs_to_a_module(yolo: Built) -> None:
    graph = ir.load(yolo.file).graph
    assert "BatchNormalization" not in {node.op_type for node in graph}
    modules = dict(yolo.subject.module.named_modules())
    for node in graph:
        path = node.metadata_props.get("module")
        assert path is None or path in modules, path


def test_a_config_of_the_project_goes_before_one_that_mmdet_ships(tmp_path: Path) -> None:
    shipped = find_config(CONFIG, tmp_path, PLACE)
    assert config_label(shipped.resolve()) == f"mmdet/{CONFIG}"
    own = tmp_path / CONFIG
    own.parent.mkdir()
    own.write_text(f"_base_ = ['mmdet::{CONFIG}']\nmodel = dict(test_cfg=dict(max_per_img=7))\n")
    assert find_config(CONFIG, tmp_path, PLACE) == own
    built, config = build_detector(MmdetModel(CONFIG, (), Seed(0)), tmp_path, PLACE)
    assert config.model.test_cfg.max_per_img == 7
    assert built.detector.bbox_head.test_cfg.max_per_img == 7
    closure = [path.name for path in config_closure(own)]
    assert closure[-1] == own.name
    assert "default_runtime.py" in closure
    assert len(closure) == len(set(map(str, config_closure(own))))


def test_overrides_change_the_model_and_a_misspelt_one_is_told(tmp_path: Path) -> None:
    def built(**overrides: str) -> object:
        model = MmdetModel(CONFIG, tuple(overrides.items()), Seed(0))
        return build_detector(model, tmp_path, PLACE)[0].detector

    head = built(**{"model.bbox_head.num_classes": "3"}).bbox_head  # type: ignore[attr-defined]
    assert head.num_classes == 3
    with pytest.raises(ExportError) as error:
        built(**{"model.bbox_head.num_clases": "3"})
    assert str(error.value) == (
        f"recipes/x.yaml:4: model.config: config '{CONFIG}' has no 'model.bbox_head.num_clases' "
        "to override; expected the dotted path of a value in the config, or of one that its "
        "classes or the model's code read; "
        "did you mean 'model.bbox_head.num_classes'?"
    )


@pytest.mark.parametrize("key", ["test_pipeline.1.scale", "classes"])
def test_an_override_that_nothing_would_read_is_refused(tmp_path: Path, key: str) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        f"_base_ = 'mmdet::{CONFIG}'\nclasses = 3\n"
        "model = dict(bbox_head=dict(num_classes=classes))\n"
    )
    with pytest.raises(ExportError) as error:
        build_detector(MmdetModel("own.py", ((key, "3"),), Seed(0)), tmp_path, PLACE)
    assert str(error.value) == (
        f"recipes/x.yaml:4: model.config: overriding '{key}' has no effect: of a loaded config, "
        "only model, test_dataloader and default_scope are used; expected a key in "
        "one of these, such as test_dataloader.dataset.pipeline.0 for a step of the test pipeline"
    )


def test_a_detector_that_is_given_its_regions_is_told(tmp_path: Path) -> None:
    config = "fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py"
    with pytest.raises(ExportError) as error:
        build_detector(MmdetModel(config, (), Seed(0)), tmp_path, PLACE)
    assert str(error.value) == (
        f"recipes/x.yaml:4: model.config: config '{config}' is of a detector whose input "
        "includes region proposals, but a recipe has only a picture; "
        "expected a detector that computes its own region proposals; "
        "name a config with a region proposal network, such as one of Faster R-CNN"
    )


def test_a_config_that_is_not_there_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as error:
        find_config(CONFIG.replace("yolov3_m", "yolov3_n"), tmp_path, PLACE)
    assert f"did you mean '{CONFIG}'?" in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model = dict(", "SyntaxError"),
        ("model = dict(type='NoSuchDetector')", "NoSuchDetector"),
        ("_base_ = ['missing.py']", "missing.py"),
        ("optimizer = 1", "model"),
    ],
)
def test_a_config_that_cannot_be_used_is_told_without_a_traceback(
    text: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mmengine leaves files open when it fails
        with pytest.raises(ExportError) as error:
            build_detector(MmdetModel("broken.py", (), Seed(0)), tmp_path, PLACE)
        error.value.__cause__ = error.value.__traceback__ = None
        gc.collect()
    assert str(error.value).startswith(
        "recipes/x.yaml:4: model.config: config 'broken.py' cannot be"
    )
    assert told in str(error.value)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"type": "MMSyncBN", "requires_grad": True}, {"type": "BN", "requires_grad": True}),
        ({"num_layers": 6, "num_cp": 6}, {"num_layers": 6, "num_cp": 0}),
        (
            {"type": "RoIAlign", "use_torchvision": True},
            {"type": "RoIAlign", "use_torchvision": False},
        ),
    ],
)
def test_mmcvs_own_parts_are_used_for_those_of_other_packages(
    given: dict[str, object], plain: dict[str, object]
) -> None:
    config = {"neck": {"inner": given}, "heads": [{}, given]}
    _use_plain_parts(config)
    assert config == {"neck": {"inner": plain}, "heads": [{}, plain]}


def test_what_comes_in_any_order_comes_best_first() -> None:
    scores = torch.rand(3000, generator=torch.Generator().manual_seed(0))
    own, places = best_first(scores, 2900, sorted=False)
    assert torch.equal(own, scores.sort(descending=True).values[:2900])
    assert torch.equal(scores[places], own)
    assert not torch.equal(scores.topk(2900, sorted=False).values, own)


def test_the_whole_detector_is_written_in_opset_11_as_in_20(yolo: Built, tmp_path: Path) -> None:
    model = ir.load(yolo.file)
    model.functions.clear()
    to_older_opset(model, 11)
    complete_marks(model, 11)
    older = saved(model, tmp_path)
    for number in (0, 4):
        picture = photographs(yolo)[number]
        expected, found = yolo.whole(picture), yolo.run(older, {"input": picture})
        assert list(found) == list(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)
