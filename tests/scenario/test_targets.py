"""Segments that a recipe converts for runtimes: run there, compared, published if they agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partition_core import Pipeline
from partition_core.base.errors import RunError
from tests.once import Once
from tests.projects import FileScratch, copied

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
pytest.importorskip("ncnn", reason="the extra 'ncnn' is not installed")

BODY = "save_file: body.onnx, "
IN_TWO = f"{BODY}targets: [openvino, {{backend: ncnn, precision: float16}}], "
OPENVINO = ("body.xml", "body.bin")


def with_targets(project: FileScratch, targets: str) -> FileScratch:
    project.edit("recipes/tiny.yaml", BODY, f"{BODY}targets: {targets}, ")
    return project


@pytest.fixture(scope="module")
def store(once: Once) -> Path:
    """Return a store with the build of the tiny recipe in two targets."""

    def build(folder: Path) -> None:
        project = FileScratch(folder / "project", folder / "store")
        project.edit("recipes/tiny.yaml", BODY, IN_TWO)
        (folder / "said").write_text(project.built())

    return once("tiny-targets", build)


@pytest.fixture
def project(store: Path, tmp_path: Path) -> FileScratch:
    """Return a project whose store holds the conversions, and what compared them."""
    made = FileScratch(tmp_path / "project", copied(store / "store", tmp_path / "store"))
    made.edit("recipes/tiny.yaml", BODY, IN_TWO)
    return made


def manifest(project: FileScratch) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project.folder / "build/tiny/manifest.json").read_text())
    return content


def folders(project: FileScratch) -> set[str]:
    return {path.name for path in (project.folder / "build/tiny").iterdir() if path.is_dir()}


def built_files(project: FileScratch) -> dict[str, bytes]:
    files = project.files()
    return {name: files[name] for name in files if name.startswith("build/tiny/")}


def image(seed: int = 5) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(seed).normal(size=(1, 3, 32, 32)).astype(np.float32)}


def test_a_segment_runs_in_each_of_its_targets(project: FileScratch, store: Path) -> None:
    said = (store / "said").read_text()
    assert "build/tiny/body.openvino: published, within a relative L2 of " in said
    project.built()
    assert folders(project) == {"body.openvino", "body.ncnn-float16"}
    folder = project.folder / "build/tiny"
    whole = Pipeline(folder)(image())["scores"]
    apart = {}
    for name in ("openvino", "ncnn-float16"):
        scores = Pipeline(folder, use={"body.onnx": name})(image())["scores"]
        apart[name] = float(np.linalg.norm(scores - whole) / np.linalg.norm(whole))
    assert apart["openvino"] < 1e-6
    assert 1e-6 < apart["ncnn-float16"] < 1e-2  # it is the one with other weights
    wrong = Pipeline(folder, use={"body.onnx": "openvino"})(image(6))["scores"]
    assert np.linalg.norm(wrong - whole) / np.linalg.norm(whole) > 1e-2


def test_the_manifest_has_files_figures_and_what_was_printed(project: FileScratch) -> None:
    project.built()
    openvino, ncnn = manifest(project)["targets"]
    assert (openvino["segment"], openvino["backend"], openvino["precision"]) == (
        *("body.onnx", "openvino", "float32"),
    )
    assert set(openvino["files"]) == set(OPENVINO)
    assert openvino["agreement"]["samples"] == 2
    assert set(openvino["agreement"]["tensors"]) == {"small", "large"}
    assert "Convolution" in ncnn["printed"] or "pnnx" in ncnn["printed"]
    assert str(project.folder) not in json.dumps(ncnn)
    assert {"convert body.openvino", "compare body.ncnn-float16"} <= set(
        manifest(project)["fingerprints"]
    )


def test_the_second_build_does_nothing(project: FileScratch) -> None:
    project.built()
    before = built_files(project)
    assert project.built() == "tiny: up to date (6 artifacts in build/tiny)\n"
    assert built_files(project) == before


def test_a_lost_or_changed_file_of_a_target_is_restored(project: FileScratch) -> None:
    project.built()
    before = project.artifacts_of("body.openvino")
    (project.folder / "build/tiny/body.openvino/body.bin").write_bytes(b"other")
    (project.folder / "build/tiny/body.openvino/body.xml").unlink()
    said = project.built()
    assert project.artifacts_of("body.openvino") == before
    assert "convert" not in said
    assert "compare" not in said


def test_a_target_that_differs_is_not_published_and_fails_the_build(project: FileScratch) -> None:
    project.edit("recipes/tiny.yaml", "precision: float16", "precision: float16, tolerance: 1.0e-7")
    run = project.doit("build")
    assert run.returncode != 0
    (line, *_) = [line for line in run.stdout.splitlines() if line.startswith("ERROR: ")]
    assert line.startswith(
        "ERROR: recipes/tiny.yaml:9: partition.segments[0].targets: body.ncnn-float16: its output "
        "'small' differs from onnxruntime's for sample 0: relative L2 "
    )
    assert "expected it within a relative L2 of 1e-07" in line
    assert "Traceback" not in run.stdout
    assert "build/tiny/body.ncnn-float16: failed\n" in run.stdout
    assert folders(project) == {"body.openvino"}
    assert [each["folder"] for each in manifest(project)["targets"]] == ["body.openvino"]
    assert project.doit("build").returncode != 0  # it is tried again
    project.edit("recipes/tiny.yaml", ", tolerance: 1.0e-7", "")
    project.built()
    assert folders(project) == {"body.openvino", "body.ncnn-float16"}


def test_a_target_that_is_not_required_is_a_warning(project: FileScratch) -> None:
    own = "precision: float16, required: false, tolerance: 1.0e-7"
    project.edit("recipes/tiny.yaml", "precision: float16", own)
    said = project.built()
    (line, *_) = [line for line in said.splitlines() if line.startswith("WARNING: ")]
    assert "body.ncnn-float16: its output 'small' differs" in line
    assert line.endswith("the target is not required, and not published")
    assert folders(project) == {"body.openvino"}
    assert project.built() == "tiny: up to date (5 artifacts in build/tiny)\n"


def test_only_what_depends_on_a_change_is_done_again(project: FileScratch) -> None:
    project.edit("recipes/tiny.yaml", "precision: float16", "precision: float16, kept: 0.5")
    said = project.built()
    assert "compare body.ncnn-float16" in said
    assert "convert" not in said
    assert "compare body.openvino" not in said


def test_a_target_that_the_recipe_lost_is_removed(project: FileScratch) -> None:
    project.built()
    project.edit("recipes/tiny.yaml", "openvino, ", "")
    project.built()
    assert folders(project) == {"body.ncnn-float16"}
    project.built("clean", "build:tiny")
    assert not (project.folder / "build/tiny").exists()


def test_what_is_in_the_folder_of_a_target_and_not_ours_stays(project: FileScratch) -> None:
    project.built()
    own = project.folder / "build/tiny/body.openvino/notes.txt"
    own.write_text("mine")
    project.edit("recipes/tiny.yaml", "openvino, ", "")
    project.built()
    assert [path.name for path in own.parent.iterdir()] == ["notes.txt"]


def test_a_pipeline_refuses_a_target_that_is_not_there_or_was_changed(
    project: FileScratch,
) -> None:
    project.built()
    folder = project.folder / "build/tiny"
    with pytest.raises(RunError) as caught:
        Pipeline(folder, use={"body.onnx": "openvin"})
    assert str(caught.value) == (
        "segment 'body.onnx': the build has no target 'openvin' of it; expected one of "
        "'ncnn-float16', 'openvino'; did you mean 'openvino'?"
    )
    with pytest.raises(RunError, match="no such segment in the build"):
        Pipeline(folder, use={"bod.onnx": "openvino"})
    (folder / "body.openvino/body.bin").write_bytes(b"other")
    with pytest.raises(RunError, match=r"body\.bin: its SHA-256 is"):
        Pipeline(folder, use={"body.onnx": "openvino"})


def test_a_package_that_is_missing_is_named_before_anything_is_built(
    fresh: FileScratch, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'openvino' else real(name, *more)\n"
    )
    with_targets(fresh, "[openvino]")
    fresh.is_forked = False
    fresh.environment["PYTHONPATH"] = f"{fresh.package_root}:{hidden}"
    run = fresh.doit("build")
    assert run.returncode != 0
    assert (
        "recipes/tiny.yaml:9: partition.segments[0].targets: target 'openvino': openvino is not "
        "installed: run `pip install 'partition-core[openvino]'`"
    ) in run.stdout
    assert not (fresh.folder / "build/tiny").exists()


def test_the_report_shows_each_target_and_why_one_failed(project: FileScratch) -> None:
    project.environment["PARTITION_CORE_REPORT"] = "1"
    project.edit("recipes/tiny.yaml", "openvino, ", "{backend: openvino, tolerance: 1.0e-12}, ")
    run = project.doit("build")
    assert run.returncode != 0
    assert "openvino: failed" in run.stdout, run.stdout
    page = (project.folder / "build/tiny/report.html").read_text(encoding="utf-8")
    assert "Where segments run" in page
    shown, failed = page.split("Where segments run")[1].split("openvino<span")
    assert "ncnn-float16" not in shown
    assert "its output &#39;small&#39; differs from onnxruntime&#39;s" in failed
    figures = failed.split("ncnn-float16<span")[1]
    assert "onnxruntime" in figures
    assert "small" in figures


def test_a_target_is_pushed_and_pulled_by_itself(project: FileScratch, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    project.write("partition.toml", f'remote = "{tmp_path / "remote"}"\n')
    project.built()
    before = project.artifacts_of("body.openvino")
    project.built("push", "recipe=tiny")
    project.built("clean", "build:tiny")
    project.store = tmp_path / "another store"
    assert "tiny: cut body.onnx: build if the result of 'export' changes" in project.built(
        "build", "--dry-run"
    )
    said = project.built("pull", "recipe=tiny", "artifact=body.openvino")
    assert "tiny: convert body.openvino: got body.xml, body.bin\n" in said
    assert "ncnn" not in said
    assert "end2end.onnx" not in said
    assert project.artifacts_of("body.openvino") == before
    assert {path.name for path in (project.folder / "build/tiny").iterdir()} == {"body.openvino"}
    project.built("pull", "recipe=tiny")
    assert folders(project) == {"body.openvino", "body.ncnn-float16"}
