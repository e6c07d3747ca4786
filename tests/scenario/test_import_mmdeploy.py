"""`doit import_mmdeploy`: deploy configs in MMDeploy's form become recipes, one of which builds."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from partition_core.base.errors import PartitionError, RecipeError
from partition_core.recipe.reader import read_recipe
from partition_core.sources.mmdet import importing
from partition_core.sources.mmdet.configs import shipped_configs
from tests.projects import Scratch

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


def imported(
    root: Path, deploy: str, model: str, lacking: str = ""
) -> tuple[dict[str, object], dict[str, str]]:
    """Return the recipe of a config as it is read, and what was left out, with reasons.

    `lacking` is what the recipe has to be mended for.
    """
    given = {"deploy_cfg": f"configs/{deploy}.py", "model_cfg": model, "recipe": deploy}
    lines = []
    with pytest.raises(RecipeError, match=lacking) if lacking else contextlib.nullcontext():
        lines.extend(importing.import_mmdeploy(root, given))
    *lines, last = lines
    left_out = dict(line.removeprefix("left out: ").split(": ", 1) for line in lines)
    assert last == f"recipes/{deploy}.yaml: written; {len(left_out)} keys left out"
    text = (root / "recipes" / f"{deploy}.yaml").read_text()
    assert all(f"# Left out: {path}: {reason}\n" in text for path, reason in left_out.items())
    return yaml.load(text, yaml.BaseLoader), left_out  # noqa: S506  # reason: it makes text only


@pytest.mark.thorough
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
        "onnx_config.opset_version": "not every model can be written in opset 11; the recipe's is "
        "20",
        "onnx_config.optimize": "a recipe has no counterpart for true",
        f"{place}.iou_threshold": "the model's own test_cfg has 0.45, which overrides 0.5 in "
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
    lacking = r"recipes/unknown.yaml:\d+: partition.segments.0..end.0.: unknown mark 'fpn'"
    _, left_out = imported(configs, "unknown", MOBILENET, lacking)
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
    with pytest.raises(RecipeError):
        list(importing.import_mmdeploy(configs, given))
    before = (configs / "recipes" / "one.yaml").read_bytes()
    (configs / "configs" / "broken.py").write_text("a = = 1\n")
    for changed, told in (
        ({}, "recipes/one.yaml: this recipe exists"),
        ({"recipe": "../up"}, "'../up' cannot be the name of a recipe"),
        ({"deploy_cfg": ""}, "deploy_cfg is missing"),
        (
            {"deploy_cfg": "configs/unknwn.py"},
            "deploy_cfg: there is no file 'configs/unknwn.py'; expected it in 'configs'; did you "
            "mean 'unknown.py'?",
        ),
        ({"model_cfg": "yolo/yolov4.py"}, "no config 'yolo/yolov4.py'"),
        ({"deploy_cfg": "configs/broken.py", "recipe": "two"}, "it cannot be read as a config"),
    ):
        with pytest.raises(PartitionError) as error:
            list(importing.import_mmdeploy(configs, {**given, **changed}))
        assert told in str(error.value)
    assert [path.name for path in (configs / "recipes").iterdir()] == ["one.yaml"]
    assert (configs / "recipes" / "one.yaml").read_bytes() == before


CLONE = "../mmdetection/configs/"


@pytest.mark.parametrize("there", ["nothing", "the same", "another"])
def test_a_config_in_a_clone_of_mmdet_is_taken_by_its_name_or_in_full(
    configs: Path, there: str
) -> None:
    project = configs / "project"
    project.mkdir()
    (configs / "configs").rename(project / "configs")
    shipped = shipped_configs()
    assert shipped is not None
    clone = configs / "mmdetection" / "configs"
    if there != "nothing":
        shutil.copytree(shipped / "_base_", clone / "_base_")
        shutil.copytree(shipped / "yolo", clone / "yolo")
    if there == "another":
        with (clone / MOBILENET).open("a") as file:
            file.write("# changed\n")
    recipe, _ = taken(project, CLONE + MOBILENET)
    expected = str(clone / MOBILENET) if there == "another" else MOBILENET
    assert recipe["model"]["config"] == expected


def taken(root: Path, model: str) -> tuple[Any, str]:
    """Return the recipe of a model's config outside of the project, and what is told of that."""
    given = {"deploy_cfg": "configs/yolov3_partition_static.py", "model_cfg": model, "recipe": "x"}
    first, *_ = importing.import_mmdeploy(root, given)
    text = (root / "recipes" / "x.yaml").read_text()
    assert first.startswith(f"model_cfg={model}: ")
    return yaml.safe_load(text), first


SEGMENTOR = """\
default_scope = 'mmseg'
model = dict(type='EncoderDecoder', backbone=dict(type='ResNet'), decode_head=dict(type='FCNHead'))
"""
CLASSIFIER = "model = dict(type='ImageClassifier', head=dict(type='LinearClsHead'))\n"
OF_MMPRETRAIN = "codebase_config = dict(type='mmpretrain', task='Classification')\n"


@pytest.mark.parametrize(
    ("deploy", "model", "told"),
    [
        (BASE, SEGMENTOR, "model.py: default_scope: is 'mmseg'; expected 'mmdet'"),
        (OF_MMPRETRAIN, CLASSIFIER, "deploy.py: codebase_config.type: is 'mmpretrain'; expected"),
        (BASE, "dataset_type = 'Coco'\n", "model.py: it has no 'model', so it is not a detector"),
        (
            BASE + "partition_config = dict(type='two_stage')\n",
            f"_base_ = 'mmdet::{MOBILENET}'\n",
            "partition_config.type: policy 'two_stage' does not fit a YOLOV3; it is for two-stage "
            "detectors, and this one has no RoI head; use 'single_stage' or ",
        ),
        (
            BASE + "partition_config = dict(type='single_stage')\n",
            f"_base_ = 'mmdet::{FASTER}'\n",
            "partition_config.type: policy 'single_stage' does not fit a FasterRCNN; it is for",
        ),
    ],
)
def test_what_is_no_detector_or_has_another_kind_is_refused_by_name(
    configs: Path, deploy: str, model: str, told: str
) -> None:
    (configs / "deploy.py").write_text(deploy)
    (configs / "model.py").write_text(model)
    with pytest.raises(PartitionError) as error:
        list(
            importing.import_mmdeploy(configs, {"deploy_cfg": "deploy.py", "model_cfg": "model.py"})
        )
    assert told in str(error.value)
    assert not (configs / "recipes").exists()


GRAY = f"""\
_base_ = 'mmdet::{MOBILENET}'
model = dict(
    data_preprocessor=dict(mean=[0.0], std=[255.0], bgr_to_rgb=False),
    backbone=dict(in_channels=1))
"""


@pytest.mark.parametrize(("deploy", "size"), [("yolov3_partition_static", "96, 160"),
                                              ("base_static", "800, 1344")])  # fmt: skip
def test_a_model_of_gray_pictures_gets_one_channel(configs: Path, deploy: str, size: str) -> None:
    (configs / "gray.py").write_text(GRAY)
    recipe, _ = imported(configs, deploy, "gray.py")
    shape = recipe["export"]["inputs"]["input"]["shape"]  # type: ignore[index]
    assert ", ".join(shape) == f"1, 1, {size}"


@pytest.mark.parametrize("own", [False, True])
def test_an_editor_finds_the_schema_of_an_imported_recipe(configs: Path, own: bool) -> None:
    if own:
        (configs / "schema").mkdir()
        (configs / "schema" / "recipe.schema.json").write_text("{}")
    imported(configs, "yolov3_partition_static", MOBILENET)
    first, *_ = (configs / "recipes" / "yolov3_partition_static.yaml").read_text().splitlines()
    place = first.removeprefix("# yaml-language-server: $schema=")
    found = json.loads((configs / "recipes" / place).read_text())
    assert own or found["$id"].endswith("/recipe.schema.json")
