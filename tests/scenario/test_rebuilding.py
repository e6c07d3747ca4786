"""What is rebuilt, and what is not, after one thing changed: real runs of doit on a tiny model."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from partition_core.base.identity import SETTLED_AFTER

from .conftest import ROOT, Scratch, steps

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
    scratch.edit("recipes/tiny.yaml", "model:\n", "# a comment\nmodel:\n")
    assert scratch.built() == "tiny: up to date (4 artifacts in build/tiny)\n"


def test_an_edited_end_rebuilds_that_segment_and_the_proof(scratch: Scratch) -> None:
    scratch.built()
    scratch.edit(
        "recipes/tiny.yaml",
        "end: ['decode:input']",
        "end: ['decode:input.maps.0', 'decode:input.maps.1']",
    )
    output = scratch.built()
    assert steps(output) == ["cut body.onnx", "prove"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("recipes/tiny.yaml", "name: decode, on", "name: decode2, on"),
        ("recipes/tiny.yaml", "seed: 0", "seed: 1"),
        ("tiny.py", "sigmoid()", "tanh()"),
    ],
    ids=["a mark", "the seed", "the code of the model"],
)
def test_what_the_model_depends_on_rebuilds_everything(
    scratch: Scratch, file: str, old: str, new: str
) -> None:
    scratch.built()
    before = scratch.artifacts()
    scratch.edit(file, old, new)
    if "decode2" in new:
        scratch.edit("recipes/tiny.yaml", "'decode:", "'decode2:")
    assert steps(scratch.built()) == ALL
    assert scratch.artifacts()["end2end.onnx"] != before["end2end.onnx"]


@pytest.mark.parametrize(
    ("package", "built"),
    # With another onnxscript the models come out the same: nothing is cut again.
    [("onnxscript", ["export"]), ("partition-core", ALL)],
)
def test_another_version_of_a_package_or_of_ours_rebuilds_what_runs_it(
    scratch: Scratch, tmp_path: Path, package: str, built: list[str]
) -> None:
    scratch.built()
    metadata = tmp_path / "site" / f"{package.replace('-', '_')}-99.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 99.0\n")
    scratch.environment["PYTHONPATH"] = f"{tmp_path / 'site'}:{ROOT}"
    assert steps(scratch.built()) == built


@pytest.mark.parametrize(
    ("file", "built"),
    [("trace/to_onnx.py", ["export"]), ("graph/file/graph_writer.py", ALL)],
)
def test_a_change_of_our_own_code_rebuilds_what_runs_it(
    scratch: Scratch, tmp_path: Path, file: str, built: list[str]
) -> None:
    copy = tmp_path / "package"
    shutil.copytree(ROOT / "partition_core", copy / "partition_core")
    scratch.package_root = copy
    assert steps(scratch.built()) == []
    code = copy / "partition_core" / file
    code.write_text(code.read_text() + "\n# changed\n")
    assert steps(scratch.built()) == built


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


def test_clean_then_build_restores_without_importing_torch(scratch: Scratch) -> None:
    scratch.built()
    before = scratch.artifacts()
    scratch.built("clean", "build")
    assert not any((scratch.folder / "build" / "tiny" / name).exists() for name in before)
    scratch.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    output = scratch.built()
    assert scratch.artifacts() == before
    assert " torch\n" not in output


def test_a_build_with_nothing_to_do_imports_no_heavy_package(scratch: Scratch) -> None:
    scratch.built()
    scratch.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    output = scratch.built("build", "recipe=tiny")
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


def test_the_same_build_in_another_folder_and_hash_seed_gives_the_same_bytes(
    tmp_path: Path, tiny_store: Path
) -> None:
    first = Scratch(tmp_path / "a" / "project", tmp_path / "a" / "store")
    second = Scratch(tmp_path / "b" / "other", tmp_path / "b" / "store")
    first.environment["PYTHONHASHSEED"] = "1"
    second.environment["PYTHONHASHSEED"] = "2"
    first.built()
    second.built()
    assert first.artifacts() == second.artifacts()
    assert all(str(tmp_path).encode() not in content for content in first.artifacts().values())


def test_the_manifest_tells_digests_edges_coverage_proof_and_fingerprints(scratch: Scratch) -> None:
    import hashlib

    scratch.built()
    files = scratch.artifacts()
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


def test_what_was_settled_is_looked_at_again_after_any_change(scratch: Scratch) -> None:
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
    scratch.edit("tiny.py", "sigmoid()", "tanh()")
    assert steps(scratch.built()) == ALL
    scratch.edit("tiny.py", "tanh()", "sigmoid()")

    settle(scratch)
    package = scratch.folder / "tiny" / "__init__.py"
    package.parent.mkdir()
    package.write_text((scratch.folder / "tiny.py").read_text().replace("sigmoid()", "tanh()"))
    # Python takes the package before the module; that model was cut above.
    assert steps(scratch.built()) == ["export"]
    shutil.rmtree(package.parent)

    settle(scratch)
    scratch.write("partition.toml", 'salt = "pepper"\n')
    assert steps(scratch.built()) == ALL


def test_what_was_settled_is_looked_at_again_after_a_package_or_our_code_changed(
    scratch: Scratch, tmp_path: Path
) -> None:
    copy, site = tmp_path / "package", tmp_path / "site"
    shutil.copytree(ROOT / "partition_core", copy / "partition_core")
    site.mkdir()
    scratch.environment["PYTHONPATH"] = f"{copy}:{site}"
    settle(scratch)
    assert scratch.built() == NOTHING
    metadata = site / "onnxscript-99.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: onnxscript\nVersion: 99.0\n")
    assert steps(scratch.built()) == ["export"]

    settle(scratch)
    code = copy / "partition_core" / "trace" / "to_onnx.py"
    code.write_text(code.read_text() + "\n# changed\n")
    assert steps(scratch.built()) == ["export"]


def test_asking_for_a_settled_task_again_publishes_it_again(scratch: Scratch) -> None:
    settle(scratch)
    output = scratch.built("run", "--always-execute", "build")
    assert steps(output) == []
    assert "build/tiny/end2end.onnx: restored from the store" in output
