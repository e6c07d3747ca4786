"""`doit store`, `verify`, `prune` and `origin`, as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from tests.projects import FileScratch, Scratch, steps


def test_a_fresh_build_is_in_use_and_nothing_can_be_pruned(scratch: Scratch) -> None:
    scratch.built()
    shown = scratch.built("store").splitlines()
    assert shown[0].split() == ["recipe", "step", "size", "made", "in", "used", "key"]
    assert [line.split("  ")[0] for line in shown[1:5]] == ["tiny"] * 4
    assert all(line.endswith("in use") for line in shown[1:5])
    assert shown[5].startswith(f"4 results in '{scratch.store}/v1', ")
    assert scratch.built("prune").startswith("removed 0 results and 0 B from")
    assert scratch.built("verify") == f"9 files in '{scratch.store}/v1', all sound\n"


def test_pruning_keeps_what_build_folders_hold_and_the_rest_is_built_again(
    scratch: FileScratch,
) -> None:
    scratch.built()
    scratch.change(seed=1)
    scratch.built()
    would = scratch.built("prune", "--dry-run")
    assert would.splitlines()[-1].startswith("would remove 4 results")
    assert scratch.built("store").count("tiny ") == 8
    assert "removed 4 results and" in scratch.built("prune")
    assert scratch.built("verify").startswith("9 files in")
    shutil.rmtree(scratch.folder / "build")
    assert steps(scratch.built()) == []
    scratch.change(seed=0)
    assert "export" in steps(scratch.built())


def test_a_project_that_is_gone_holds_nothing(scratch: Scratch) -> None:
    scratch.built()
    other = FileScratch(scratch.folder.parent / "other", scratch.store)
    shutil.rmtree(scratch.folder)
    assert "removed 4 results and" in other.built("prune")
    # Nothing leads to a result that is gone.
    assert not list((scratch.store / "v1" / "ac").glob("??/*"))


@pytest.mark.thorough
def test_pruning_waits_for_a_build_that_uses_the_store(torch_scratch: Scratch) -> None:
    torch_scratch.built()
    torch_scratch.edit("recipes/tiny.yaml", "seed: 0", "seed: 1")
    with torch_scratch.start("build") as build:
        assert build.stdout is not None
        while "translate it to ONNX …" not in build.stdout.readline():
            assert build.poll() is None
        pruned = torch_scratch.built("prune")
        assert "built" in build.stdout.read()
    assert build.returncode == 0
    assert pruned.splitlines()[-1].startswith("removed 4 results")
    assert torch_scratch.built("verify").endswith("all sound\n")


def test_limits_are_read_from_the_command_line(scratch: Scratch) -> None:
    scratch.built()
    shutil.rmtree(scratch.folder / "build")
    assert scratch.built("prune", "--unused-for", "30").startswith("removed 0 results")
    assert scratch.built("prune", "--down-to", "1GB").startswith("removed 0 results")
    long_ago = time.time() - 31 * 24 * 3600
    for entry in (scratch.store / "v1" / "ac").glob("??/*"):
        os.utime(entry, (long_ago, long_ago))
    assert "removed 4 results" in scratch.built("prune", "--unused-for", "30")
    wrong = scratch.doit("prune", "--down-to", "much")
    assert wrong.returncode == 1
    assert wrong.stdout == ("ERROR: down-to: 'much' is not a size; expected one such as 20GB\n")


def test_checkpoints_that_no_build_folder_was_made_of_are_pruned(scratch: Scratch) -> None:
    scratch.built()
    manifest = scratch.folder / "build" / "tiny" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["export"]["checkpoint_sha256"] = "a" * 64  # as a recipe with a checkpoint has it
    manifest.write_text(json.dumps(content))
    folder = scratch.store / "v1" / "checkpoints"
    folder.mkdir()
    for name in ("aaaaaaaa-used.pth", "bbbbbbbb-idle.pth"):
        (folder / name).write_bytes(b"weights")
    place = f"'{scratch.store}/v1'"
    assert scratch.built("prune", "--unused-for", "1").startswith("removed 0 results and 0 B")
    assert scratch.built("prune", "--dry-run").splitlines() == [
        "checkpoint bbbbbbbb-idle.pth: 7 B",
        f"would remove 0 results, 1 checkpoint from {place}",
    ]
    assert len(list(folder.iterdir())) == 2
    assert scratch.built("prune").splitlines() == [
        "checkpoint bbbbbbbb-idle.pth: 7 B",
        f"removed 0 results, 1 checkpoint and 7 B from {place}",
    ]
    assert [path.name for path in folder.iterdir()] == ["aaaaaaaa-used.pth"]


def test_a_damaged_file_is_found_and_made_again(scratch: Scratch) -> None:
    scratch.built()
    before = scratch.artifacts()
    path = max((scratch.store / "v1" / "cas").glob("??/*"), key=lambda one: one.stat().st_size)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    run = scratch.doit("verify")
    assert run.returncode == 1
    assert f"file {path.name} is damaged" in run.stdout
    shutil.rmtree(scratch.folder / "build")
    scratch.built()
    assert scratch.artifacts() == before
    assert scratch.built("verify").endswith("all sound\n")


def test_the_origin_of_a_file_names_recipe_step_and_inputs(torch_scratch: Scratch) -> None:
    torch_scratch.built()
    copy = torch_scratch.folder / "somewhere.onnx"
    shutil.copyfile(torch_scratch.folder / "build" / "tiny" / "body.onnx", copy)
    told = torch_scratch.built("origin", "somewhere.onnx").splitlines()
    assert told[0].startswith(
        "somewhere.onnx is 'body.onnx' of step 'cut body.onnx' of recipe 'tiny', made in "
    )
    assert any(line.startswith("made of 'end2end.onnx' of step 'export'") for line in told)
    assert any(line.startswith("  code tiny.py: ") for line in told)
    assert any(line.startswith("  torch: ") for line in told)
    copy.write_bytes(copy.read_bytes() + b"\0")
    run = torch_scratch.doit("origin", "somewhere.onnx")
    assert run.returncode == 1
    assert "no step on this machine made this file" in run.stdout


def test_without_a_store_the_commands_say_so(fresh: Scratch) -> None:
    for command in ("store", "verify", "prune"):
        run = fresh.doit(command)
        assert run.returncode == 1
        assert run.stdout == (f"ERROR: {fresh.store}/v1: there is no store yet; build a recipe\n")
    missing = fresh.doit("origin", "nothing.onnx")
    assert missing.returncode == 1
    assert missing.stdout == "ERROR: nothing.onnx: No such file or directory\n"
