"""The README is true: its recipe is the recipe, its message is the message, its commands exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .readme import README, ROOT, blocks


def test_the_recipe_in_the_readme_is_the_recipe() -> None:
    recipe = blocks("yaml")[0]
    assert recipe == (ROOT / "recipes" / "yolov3.yaml").read_text(encoding="utf-8")


def test_the_mistake_in_the_readme_gives_the_message_in_the_readme(tmp_path: Path) -> None:
    (message,) = blocks("text")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    shutil.copy(ROOT / "dodo.py", tmp_path)
    recipe = tmp_path / "recipes" / "yolov3.yaml"
    recipe.write_text(recipe.read_text().replace("end: ['yolo_head:", "end: ['yolo_hed:"))
    run = subprocess.run(
        [sys.executable, "-m", "doit", "build", "recipe=yolov3"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PARTITION_CORE_STORE": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == f"ERROR: {message}"
    assert run.returncode != 0
    assert not (tmp_path / "build").exists()


def test_ci_runs_the_readmes_test_command() -> None:
    build, devices, test = blocks("sh")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert test.rstrip().endswith("&& python -m pytest -n auto")
    ours = test.rstrip().split("&& ")[-1]
    run = [line for line in script.splitlines() if line.startswith("python -m pytest")]
    assert (run[0], run[-1]) == (ours, f"{ours} -m thorough")
    assert [" --cov " in line for line in run] == [False, True, False]
    assert "doit build recipe=yolov3" in build
    assert "doit build recipe=yolov3-devices" in devices
    for command in (build, devices, test):
        assert "-c constraints.txt" in command
    assert "--constraint constraints.txt" in script
    assert "--constraint constraints.txt --no-deps pnnx" in script
    assert "&& pip install -c constraints.txt --no-deps pnnx &&" in test


def test_every_file_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`((?:recipes|schema|docs)/[\w./-]+|[A-Z]+\.md|dodo\.py)`", README))
    assert len(named) > 4
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_dependency_that_can_change_an_artifact_is_pinned() -> None:
    from partition_core.backends.onnxruntime.backend import _PACKAGES
    from partition_core.base import packages as named
    from partition_core.build.steps import report
    from partition_core.sources.mmdet import form

    pinned = {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    packages = {*form._PACKAGES, *report._PACKAGES, *_PACKAGES}
    others = {"mmcv", *named.CV2[1:], *_PACKAGES[1:]}  # in the place of a pinned one
    assert packages - pinned == others
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_wheel_holds_schema_policies_and_the_report_s_page(tmp_path: Path) -> None:
    import zipfile

    source = tmp_path / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns("build", ".*"))
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "partition_core"
    data = [
        path.relative_to(ROOT).as_posix()
        for folder in (package, package / "schema")  # a link, into which no pattern goes
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert len(data) > 10
    assert set(data) <= names
    schema = zipfile.ZipFile(wheel).read("partition_core/schema/recipe.schema.json")
    assert json.loads(schema) == json.loads((ROOT / "schema" / "recipe.schema.json").read_text())


def test_the_totals_of_families_are_those_of_the_coverage() -> None:
    rows = json.loads((ROOT / "docs" / "coverage.json").read_text(encoding="utf-8"))
    columns = ("built", "exported", "marked", "cut", "chain_equal", "predict_equal")
    passing = {row["family"] for row in rows if all(row[column] for column in columns)}
    families = {row["family"] for row in rows}
    assert f"{len(passing)} of the {len(families)} families" in " ".join(README.split())
    assert set(LISTED) <= passing
    (masks,) = [row for row in rows if "cascade-mask-rcnn_r50_fpn_1x" in row["config"]]
    assert all(masks[column] for column in columns)
    assert len(LISTED) + 1 == 31


LISTED = (
    "atss", "fcos", "foveabox", "fsaf", "retinanet", "ssd", "vfnet", "yolo", "yolox",
    "cascade_rcnn", "faster_rcnn", "dcn", "gfl", "reppoints", "detr", "deformable_detr",
    "conditional_detr", "dab_detr", "dino", "centernet", "rtmdet", "htc", "mask_rcnn", "swin",
    "solo", "solov2", "condinst", "panoptic_fpn", "maskformer", "mask2former",
)  # fmt: skip
"""The models that MMDeploy lists, by the folders of their configs; Cascade R-CNN's has two."""
