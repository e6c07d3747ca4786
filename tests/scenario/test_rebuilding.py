"""What is rebuilt, and what is not, after one thing changed: real runs of doit on a tiny model."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from partition_core.base.file_stamp import SETTLED_AFTER
from tests.projects import ROOT, FileScratch, Scratch, steps

thorough = pytest.mark.thorough
ALL = ["export", "cut body.onnx", "cut tail.onnx", "prove"]


def test_the_first_build_runs_every_step_and_prints_the_proof(fresh: Scratch) -> None:
    output = fresh.built("build", "recipe=tiny")
    assert steps(output) == ALL
    assert "proven on 2 inputs: the segments in a chain equal end2end bit for bit" in output
    assert set(fresh.artifacts()) == {"body.onnx", "tail.onnx", "end2end.onnx", "manifest.json"}


def test_a_second_build_does_nothing(scratch: Scratch) -> None:
    scratch.built()
    before = scratch.artifacts()
    assert scratch.built() == "tiny: up to date (4 artifacts in build/tiny)\n"
    assert scratch.artifacts() == before


def test_a_comment_in_the_recipe_rebuilds_nothing(scratch: Scratch) -> None:
    scratch.built()
    scratch.edit("recipes/tiny.yaml", "model:", "# a comment\nmodel:")
    assert scratch.built() == "tiny: up to date (4 artifacts in build/tiny)\n"


def test_an_edited_end_rebuilds_that_segment_and_the_proof(scratch: Scratch) -> None:
    scratch.built()
    scratch.edit(
        "recipes/tiny.yaml",
        "end: ['decode:input']",
        "end: ['decode:input.small', 'decode:input.large']",
    )
    output = scratch.built()
    assert steps(output) == ["cut body.onnx", "prove"]


def test_another_mark_or_another_file_rebuilds_everything(scratch: FileScratch) -> None:
    scratch.built()
    before = scratch.artifacts()
    recipe = (scratch.folder / "recipes" / "tiny.yaml").read_text()
    marked = recipe.replace("name: decode", "name: decode2").replace("'decode:", "'decode2:")
    scratch.write("recipes/tiny.yaml", marked)
    assert steps(scratch.built()) == ALL
    assert scratch.artifacts()["end2end.onnx"] != before["end2end.onnx"]
    scratch.write("recipes/tiny.yaml", recipe)
    scratch.change(seed=1)
    assert steps(scratch.built()) == ALL
    assert scratch.artifacts()["end2end.onnx"] != before["end2end.onnx"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("recipes/tiny.yaml", "name: decode, on", "name: decode2, on", marks=thorough),
        pytest.param("recipes/tiny.yaml", "seed: 0", "seed: 1", marks=thorough),
        ("tiny.py", "sigmoid()", "tanh()"),
    ],
    ids=["a mark", "the seed", "the code of the model"],
)
def test_what_the_model_depends_on_rebuilds_everything(
    torch_scratch: Scratch, file: str, old: str, new: str
) -> None:
    torch_scratch.built()
    before = torch_scratch.artifacts()
    torch_scratch.edit(file, old, new)
    if "decode2" in new:
        torch_scratch.edit("recipes/tiny.yaml", "'decode:", "'decode2:")
    assert steps(torch_scratch.built()) == ALL
    assert torch_scratch.artifacts()["end2end.onnx"] != before["end2end.onnx"]


@pytest.mark.parametrize(
    ("kind", "package", "built"),
    [
        # With another onnxscript the models come out the same: nothing is cut again.
        ("torch_scratch", "onnxscript", ["export"]),
        ("scratch", "partition-core", ALL),
        pytest.param("torch_scratch", "partition-core", ALL, marks=thorough),
    ],
)
def test_another_version_of_a_package_or_of_ours_rebuilds_what_runs_it(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, package: str, built: list[str]
) -> None:
    project: Scratch = request.getfixturevalue(kind)
    project.built()
    metadata = tmp_path / "site" / f"{package.replace('-', '_')}-99.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 99.0\n")
    project.environment["PYTHONPATH"] = f"{tmp_path / 'site'}:{ROOT}"
    assert steps(project.built()) == built


@pytest.mark.parametrize(
    ("kind", "file", "built"),
    [
        ("torch_scratch", "trace/to_onnx.py", ["export"]),
        ("scratch", "graph/file/graph_writer.py", ALL),
        pytest.param("torch_scratch", "graph/file/graph_writer.py", ALL, marks=thorough),
    ],
)
def test_a_change_of_our_own_code_rebuilds_what_runs_it(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, file: str, built: list[str]
) -> None:
    project: Scratch = request.getfixturevalue(kind)
    copy = tmp_path / "package"
    shutil.copytree(ROOT / "partition_core", copy / "partition_core")
    project.package_root = copy
    assert steps(project.built()) == []
    code = copy / "partition_core" / file
    code.write_text(code.read_text() + "\n# changed\n")
    assert steps(project.built()) == built


@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
def test_a_damaged_artifact_is_put_right_without_an_export(scratch: Scratch, damage: str) -> None:
    scratch.built()
    before = scratch.artifacts()
    target = scratch.folder / "build" / "tiny" / "body.onnx"
    if damage == "changed":
        content = bytearray(target.read_bytes())
        content[len(content) // 2] ^= 1
        target.write_bytes(content)
    elif damage == "truncated":
        target.write_bytes(target.read_bytes()[:-10])
    else:
        target.unlink()
    assert steps(scratch.built()) == []
    assert scratch.artifacts() == before


def test_a_renamed_segment_leaves_no_file_of_its_old_name(scratch: Scratch) -> None:
    scratch.built()
    scratch.edit("recipes/tiny.yaml", "save_file: tail.onnx", "save_file: decoded.onnx")
    assert steps(scratch.built()) == ["cut decoded.onnx", "prove"]
    assert set(scratch.artifacts()) == {
        "body.onnx",
        "decoded.onnx",
        "end2end.onnx",
        "manifest.json",
    }


def test_clean_then_build_restores_without_importing_torch(torch_scratch: Scratch) -> None:
    torch_scratch.built()
    before = torch_scratch.artifacts()
    torch_scratch.built("clean", "build")
    assert not any((torch_scratch.folder / "build" / "tiny" / name).exists() for name in before)
    torch_scratch.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    output = torch_scratch.built()
    assert torch_scratch.artifacts() == before
    assert " torch\n" not in output


def test_a_build_with_nothing_to_do_imports_no_heavy_package(torch_scratch: Scratch) -> None:
    torch_scratch.built()
    torch_scratch.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    output = torch_scratch.built("build", "recipe=tiny")
    imported = {line.rsplit("|", 1)[1].strip() for line in output.splitlines() if "|" in line}
    assert "partition_core.tasks" in imported
    assert not imported & {
        "torch",
        "onnx",
        "onnx_ir",
        "mmdet",
        "jsonschema",
        "numpy",
        "onnxruntime",
    }


def test_the_manifest_tells_digests_edges_coverage_proof_and_fingerprints(
    torch_scratch: Scratch,
) -> None:
    import hashlib

    torch_scratch.built()
    files = torch_scratch.artifacts()
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["artifacts"] == {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(files.items(), key=lambda item: item[0] != "end2end.onnx")
    }
    assert [(edge["producer"], edge["consumer"]) for edge in manifest["edges"]] == [
        ("end2end input", "body.onnx"),
        ("body.onnx", "tail.onnx"),
        ("body.onnx", "tail.onnx"),
        ("tail.onnx", "end2end output"),
    ]
    assert manifest["coverage"]["uncovered"] == []
    assert manifest["proof"]["tensors"] == 3
    labels = [label for label, _ in manifest["fingerprints"]["export"]["entries"]]
    assert {
        "recipe marks",
        "code tiny.py",
        "torch",
        "code partition_core/trace/exporter.py",
    } <= set(labels)


def settle(scratch: Scratch) -> None:
    """Build until the project remembers that nothing is to be done for the recipe."""
    scratch.built()
    time.sleep(SETTLED_AFTER + 0.1)  # what changed just now is not remembered
    scratch.built()
    assert "tiny" in json.loads((scratch.folder / SETTLED).read_bytes())["recipes"]


SETTLED = "build/.partition/settled.json"
NOTHING = "tiny: up to date (4 artifacts in build/tiny)\n"


def test_what_was_settled_is_looked_at_again_after_any_change(scratch: FileScratch) -> None:
    settle(scratch)
    before = scratch.artifacts()
    assert scratch.built() == NOTHING
    body = scratch.folder / "build" / "tiny" / "body.onnx"
    flipped = bytearray(before["body.onnx"])
    flipped[100] ^= 1
    stat = body.stat()
    body.write_bytes(flipped)
    os.utime(body, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "build/tiny/body.onnx: restored from the store" in scratch.built()
    assert scratch.artifacts() == before

    settle(scratch)
    (scratch.folder / "build" / "tiny" / "manifest.json").unlink()
    assert "build/tiny/manifest.json: written" in scratch.built()

    settle(scratch)
    scratch.change(seed=1)
    assert steps(scratch.built()) == ALL
    scratch.change()

    settle(scratch)
    scratch.write("partition.toml", 'salt = "pepper"\n')
    assert steps(scratch.built()) == ALL


@pytest.mark.thorough
def test_what_was_settled_is_looked_at_again_after_its_code_or_where_it_is_changed(
    torch_scratch: Scratch,
) -> None:
    settle(torch_scratch)
    torch_scratch.edit("tiny.py", "sigmoid()", "tanh()")
    assert steps(torch_scratch.built()) == ALL
    torch_scratch.edit("tiny.py", "tanh()", "sigmoid()")

    settle(torch_scratch)
    package = torch_scratch.folder / "tiny" / "__init__.py"
    package.parent.mkdir()
    package.write_text((torch_scratch.folder / "tiny.py").read_text().replace("sigmoid", "tanh"))
    # Python takes the package before the module; that model was cut above.
    assert steps(torch_scratch.built()) == ["export"]


@pytest.mark.parametrize(
    ("kind", "package", "built", "file"),
    [
        ("scratch", "onnx", ALL, "sources/onnx/source.py"),
        pytest.param("torch_scratch", "onnxscript", ["export"], "trace/to_onnx.py", marks=thorough),
    ],
)
def test_what_was_settled_is_looked_at_again_after_a_package_or_our_code_changed(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    kind: str,
    package: str,
    built: list[str],
    file: str,
) -> None:
    scratch: Scratch = request.getfixturevalue(kind)
    copy, site = tmp_path / "package", tmp_path / "site"
    shutil.copytree(ROOT / "partition_core", copy / "partition_core")
    site.mkdir()
    scratch.environment["PYTHONPATH"] = f"{copy}:{site}"
    settle(scratch)
    assert scratch.built() == NOTHING
    metadata = site / f"{package}-99.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 99.0\n")
    assert steps(scratch.built()) == built

    settle(scratch)
    code = copy / "partition_core" / file
    code.write_text(code.read_text() + "\n# changed\n")
    assert steps(scratch.built()) == ["export"]


def test_asking_for_a_settled_task_again_publishes_it_again(scratch: Scratch) -> None:
    settle(scratch)
    output = scratch.built("run", "--always-execute", "build")
    assert steps(output) == []
    assert "build/tiny/end2end.onnx: restored from the store" in output
