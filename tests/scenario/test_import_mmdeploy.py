"""`doit import_mmdeploy`: deploy configs in MMDeploy's form become recipes, one of which builds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from partition_core.building import importing
from partition_core.errors import PartitionError
from partition_core.reading.recipe_reader import read_recipe

from .conftest import Scratch

BASE = """\
onnx_config = dict(
    type='onnx', export_params=True, keep_initializers_as_inputs=False, opset_version=11,
    save_file='end2end.onnx', input_names=['input'], output_names=['dets', 'labels'],
    input_shape=None, optimize=True)
codebase_config = dict(
    type='mmdet', task='ObjectDetection', model_type='end2end',
    post_processing=dict(
        score_threshold=0.05, confidence_threshold=0.005, iou_threshold=0.5,
        max_output_boxes_per_class=200, pre_top_k=5000, keep_top_k=100, background_label_id=-1))
backend_config = dict(type='onnxruntime')
"""
YOLOV3 = """\
_base_ = ['./base_static.py']
onnx_config = dict(input_shape=(160, 96))
partition_config = dict(
    type='yolov3_partition',
    apply_marks=True,
    partition_cfg=[
        dict(
            save_file='yolov3.onnx',
            start=['detector_forward:input'],
            end=['yolo_head:input'],
            output_names=[f'pred_maps.{i}' for i in range(3)])
    ])
"""
TWO_STAGE = """\
_base_ = ['./base_static.py']
onnx_config = dict(
    opset_version=18,
    dynamic_axes={'input': {0: 'batch', 2: 'height', 3: 'width'}, 'dets': {1: 'num_dets'}})
partition_config = dict(type='two_stage', apply_marks=True)
"""
PASTED = """\
_base_ = ['./base_static.py']
onnx_config = dict(output_names=['dets', 'labels', 'masks'])
codebase_config = dict(post_processing=dict(export_postprocess_mask=True))
"""
ROIS = """\
_base_ = ['./base_static.py']
partition_config = dict(
    type='rois', apply_marks=True,
    partition_cfg=[dict(
        save_file='rois.onnx', start='roi_extractor:output', end='bbox_head_forward:output')])
"""
UNKNOWN = """\
_base_ = ['./base_static.py']
backend_config = dict(
    type='tensorrt', common_config=dict(fp16_mode=True),
    model_inputs=[dict(input_shapes=dict(input=dict(min_shape=[1, 3, 320, 320])))])
codebase_config = dict(model_type='ncnn_end2end')
calib_config = dict(create_calib=True)
partition_config = dict(
    type='own', apply_marks=False,
    partition_cfg=[dict(
        save_file='a.onnx', start='detector_forward:input', end=['fpn:output'], deep=dict(a=1))])
"""
MOBILENET = "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py"
FASTER = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Return a folder with deploy configs, which is a project without recipes."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "base_static.py").write_text(BASE)
    (folder / "yolov3_partition_static.py").write_text(YOLOV3)
    (folder / "two_stage_dynamic.py").write_text(TWO_STAGE)
    (folder / "unknown.py").write_text(UNKNOWN)
    return tmp_path


def imported(root: Path, deploy: str, model: str) -> tuple[dict[str, object], dict[str, str]]:
    """Return the recipe of a config as it is read, and what was left out, with reasons."""
    given = {"deploy_cfg": f"configs/{deploy}.py", "model_cfg": model, "recipe": deploy}
    *lines, last = importing.import_mmdeploy(root, given)
    left_out = dict(line.removeprefix("left out: ").split(": ", 1) for line in lines)
    assert last == f"recipes/{deploy}.yaml: written; {len(left_out)} keys left out"
    text = (root / "recipes" / f"{deploy}.yaml").read_text()
    assert all(f"# Left out: {path}: {reason}\n" in text for path, reason in left_out.items())
    return yaml.load(text, yaml.BaseLoader), left_out  # noqa: S506  # reason: it makes text only


def test_the_static_partition_of_yolov3_builds(configs: Path, tmp_path: Path) -> None:
    project = Scratch(tmp_path / "project", tmp_path / "store")
    (project.folder / "recipes" / "tiny.yaml").unlink()
    deploy = configs / "configs" / "yolov3_partition_static.py"
    told = project.built("import_mmdeploy", f"deploy_cfg={deploy}", f"model_cfg={MOBILENET}")
    (name,) = [path.stem for path in (project.folder / "recipes").iterdir()]
    assert name == "yolov3_mobilenetv2_8xb24-320-300e_coco"
    assert told.splitlines()[-1] == f"recipes/{name}.yaml: written; 5 keys left out"
    output = project.built("build")
    assert f"{name}: proven on 2 inputs" in output
    manifest = json.loads((project.folder / "build" / name / "manifest.json").read_text())
    (segment,) = manifest["segments"]
    found = {side: {t["name"]: t["dims"] for t in segment[side]} for side in ("inputs", "outputs")}
    # (160, 96) is a width and a height; the maps are 1 / 32 and 1 / 16 of them.
    assert found["inputs"] == {"input": [1, 3, 96, 160]}
    assert found["outputs"] == {"pred_maps.0": [1, 255, 3, 5], "pred_maps.1": [1, 255, 6, 10],
                                "pred_maps.2": [1, 255, 12, 20]}  # fmt: skip


def test_what_the_models_own_config_decides_is_told_and_not_overridden(configs: Path) -> None:
    recipe, left_out = imported(configs, "yolov3_partition_static", MOBILENET)
    assert "overrides" not in recipe["model"]  # type: ignore[operator]
    place = "codebase_config.post_processing"
    assert left_out == {
        "onnx_config.opset_version": "11 is none of the opsets from 18 to 21; the recipe's is 20",
        "onnx_config.optimize": "a recipe has no counterpart for true",
        f"{place}.iou_threshold": "the model's own test_cfg says 0.45, which comes before 0.5 in "
        "MMDeploy too",
        f"{place}.max_output_boxes_per_class": "a recipe has no counterpart for 200",
        f"{place}.pre_top_k": "a recipe has no counterpart for 5000",
    }
    read_recipe(configs / "recipes" / "yolov3_partition_static.yaml", configs)


def test_a_predefined_partition_keeps_its_name(configs: Path) -> None:
    recipe, left_out = imported(configs, "two_stage_dynamic", FASTER)
    assert recipe["partition"] == {"type": "two_stage"}
    assert recipe["export"] == {
        "inputs": {"input": {"shape": ["1", "3", "800", "1344"]}},
        "dynamic_axes": {"input": {"2": "height", "3": "width"}},
        "opset": "18",
    }
    assert left_out["onnx_config.dynamic_axes.dets"].startswith("the axes of outputs follow")
    assert "one by one" in left_out["onnx_config.dynamic_axes.input.0"]
    assert "partition_config.type" not in left_out
    assert "codebase_config.post_processing.score_threshold" not in left_out  # equal to the model's


def test_a_model_with_masks_gets_the_parts_of_its_masks(configs: Path) -> None:
    masks = FASTER.replace("faster_rcnn/faster", "mask_rcnn/mask")
    recipe, _ = imported(configs, "two_stage_dynamic", masks)
    assert recipe["partition"] == {"type": "two_stage_masks"}
    read_recipe(configs / "recipes" / "two_stage_dynamic.yaml", configs)
    (configs / "configs" / "pasted.py").write_text(PASTED)
    recipe, left_out = imported(configs, "pasted", masks)
    assert recipe["export"]["masks"] == "pasted"  # type: ignore[index]
    assert not [path for path in left_out if "mask" in path]
    read_recipe(configs / "recipes" / "pasted.yaml", configs)


def test_segments_may_lie_between_any_of_mmdeploys_marks(configs: Path) -> None:
    (configs / "configs" / "rois.py").write_text(ROIS)
    recipe, left_out = imported(configs, "rois", FASTER)
    assert "marks" not in recipe
    assert not [path for path in left_out if path.startswith("partition_config")]
    read = read_recipe(configs / "recipes" / "rois.yaml", configs).recipe
    assert [mark.name for mark in read.marks] == ["roi_extractor", "bbox_head_forward"]


def test_every_unknown_key_is_told_by_its_path(configs: Path) -> None:
    _, left_out = imported(configs, "unknown", MOBILENET)
    assert {
        "backend_config.type": 'a recipe has no counterpart for "tensorrt"',
        "backend_config.common_config.fp16_mode": "a recipe has no counterpart for true",
        "codebase_config.model_type": 'a recipe has no counterpart for "ncnn_end2end"',
        "calib_config.create_calib": "a recipe has no counterpart for true",
        "partition_config.apply_marks": "a recipe has no counterpart for false",
        "partition_config.partition_cfg[0].deep": 'a recipe has no counterpart for {"a": 1}',
        "partition_config.partition_cfg[0].end": "no mark of a recipe is known for 'fpn:output'",
    }.items() <= left_out.items()
    assert "backend_config.model_inputs" in left_out


def test_a_config_runs_nothing_that_it_names(configs: Path) -> None:
    (configs / "configs" / "evil.py").write_text(
        YOLOV3 + "custom_imports = dict(imports=['evil_module'], allow_failed_imports=False)\n"
    )
    (configs / "evil_module.py").write_text("raise SystemExit('it was run')\n")
    _, left_out = imported(configs, "evil", MOBILENET)
    assert "custom_imports.imports" in left_out


def test_mistakes_are_told_and_no_recipe_is_overwritten(configs: Path) -> None:
    given = {"deploy_cfg": "configs/unknown.py", "model_cfg": MOBILENET, "recipe": "one"}
    list(importing.import_mmdeploy(configs, given))
    before = (configs / "recipes" / "one.yaml").read_bytes()
    (configs / "configs" / "broken.py").write_text("a = = 1\n")
    for changed, told in (
        ({}, "recipes/one.yaml: this recipe exists"),
        ({"recipe": "../up"}, "'../up' cannot be the name of a recipe"),
        ({"deploy_cfg": ""}, "there is no deploy_cfg"),
        ({"deploy_cfg": "configs/none.py"}, "there is no such file"),
        ({"model_cfg": "yolo/yolov4.py"}, "no config 'yolo/yolov4.py'"),
        ({"deploy_cfg": "configs/broken.py", "recipe": "two"}, "it cannot be read as a config"),
    ):
        with pytest.raises(PartitionError) as error:
            list(importing.import_mmdeploy(configs, {**given, **changed}))
        assert told in str(error.value)
    assert [path.name for path in (configs / "recipes").iterdir()] == ["one.yaml"]
    assert (configs / "recipes" / "one.yaml").read_bytes() == before
