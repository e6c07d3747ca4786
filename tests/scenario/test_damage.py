"""What a build makes of damaged artifacts, of failures before it and of disks that refuse."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.projects import RECIPE, TINY, Scratch, steps

UP_TO_DATE = "tiny: up to date (4 artifacts in build/tiny)\n"


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        byte = file.read(1)[0]
        file.seek(100)
        file.write(bytes([byte ^ 1]))


def link_to_another(path: Path) -> None:
    path.unlink()
    path.symlink_to("tail.onnx")


def link_to_its_copy(path: Path) -> None:
    copy = shutil.copy(path, path.parents[2] / "copy.onnx")
    path.unlink()
    path.symlink_to(copy)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: list[Callable[[Path], None]] = [
    append,
    flip,
    lambda path: os.truncate(path, 100),
    lambda path: os.truncate(path, 0),
    link_to_another,
    link_to_its_copy,
    replace_by_a_folder,
    lambda path: path.chmod(0),
]


def test_every_damage_to_an_artifact_is_repaired_and_the_store_is_unharmed(
    scratch: Scratch,
) -> None:
    scratch.built()
    before = scratch.artifacts()
    target = scratch.folder / "build" / "tiny" / "body.onnx"
    for damage in DAMAGES:
        damage(target)
        output = scratch.built()
        assert steps(output) == []
        assert "build/tiny/body.onnx: restored from the store, 4.2 kB\n" in output
        assert scratch.artifacts() == before
        assert target.is_file() and not target.is_symlink()
        assert target.stat().st_mode & 0o777 == 0o644
        assert scratch.built() == UP_TO_DATE
    for path in (scratch.store / "v1" / "cas").glob("*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_a_folder_with_files_in_an_artifacts_place_is_told_and_left(scratch: Scratch) -> None:
    own = scratch.folder / "build" / "tiny" / "body.onnx" / "mine.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    run = scratch.doit("build")
    assert run.returncode != 0
    assert run.stdout == (
        "ERROR: build/tiny/body.onnx: is a non-empty folder; expected a file; remove it\n"
        "tiny: failed\n"
    )
    assert own.read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None], ids=["empty", "bad", "cut"])
def test_a_damaged_database_of_doit_costs_one_warning(
    scratch: Scratch, content: bytes | None
) -> None:
    scratch.built()
    database = scratch.folder / ".doit.db"
    whole = database.read_bytes()
    database.write_bytes(whole[: len(whole) // 2] if content is None else content)
    warned = (
        "WARNING: .doit.db is damaged; it was moved to .doit.db.damaged and a new one is created\n"
    )
    assert scratch.built() == (warned if content != b"" else "") + UP_TO_DATE
    assert scratch.built() == UP_TO_DATE
    database.unlink()
    assert scratch.built() == UP_TO_DATE


def test_a_failing_edit_leaves_the_former_build_and_is_not_remembered(
    torch_scratch: Scratch,
) -> None:
    torch_scratch.built()
    before = torch_scratch.artifacts()
    model = (torch_scratch.folder / "tiny.py").read_text()
    # The proof refuses outputs that say nothing, and a model that raises fails the export.
    torch_scratch.edit("tiny.py", "one.flatten(2).sigmoid()", "one.flatten(2) * 0")
    run = torch_scratch.doit("build")
    assert run.returncode != 0
    assert "ERROR: recipes/tiny.yaml: output 'output', sample 0: all its values are" in run.stdout
    assert run.stdout.endswith("tiny: failed\n")
    assert torch_scratch.artifacts() == before
    torch_scratch.write("tiny.py", model + "\n\nraise ValueError(open('cause').read())\n")
    (torch_scratch.folder / "cause").write_text("no luck")
    run = torch_scratch.doit("build")
    assert run.returncode != 0
    assert "importing 'tiny' fails; ValueError: no luck\ntiny: failed\n" in run.stdout
    assert torch_scratch.artifacts() == before
    torch_scratch.write("tiny.py", model)
    assert torch_scratch.built() == UP_TO_DATE


def test_what_failed_is_tried_again_after_its_cause_is_gone(torch_fresh: Scratch) -> None:
    with (torch_fresh.folder / "tiny.py").open("a") as file:
        file.write("\n\nopen('needed').close()\n")
    assert torch_fresh.doit("build").returncode != 0
    (torch_fresh.folder / "needed").touch()
    assert steps(torch_fresh.built()) == ["export", "cut body.onnx", "cut tail.onnx", "prove"]


def test_a_recipe_that_cannot_be_fetched_does_not_stop_the_others(scratch: Scratch) -> None:
    scratch.write("tiny.py", TINY)
    scratch.write(
        "recipes/far.yaml",
        RECIPE.replace(
            "{seed: 0}", "{checkpoint: 'http://127.0.0.1:9/x.pth', sha256: aabbccddeeff}"
        ),
    )
    run = scratch.doit("build")
    assert run.returncode != 0
    assert "ERROR: recipes/far.yaml:6: model.weights.checkpoint: 'http://127.0.0.1:9" in run.stdout
    assert run.stdout.count("ERROR") == 1
    assert "far: failed\n" in run.stdout
    assert set(scratch.artifacts()) == {"end2end.onnx", "body.onnx", "tail.onnx", "manifest.json"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return what mounts a small disk with some options, where that is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
            pytest.skip("mounting a disk is not allowed here")
        return folder

    yield mounted
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [("size=16k", "No space left on device"), ("ro", "Read-only file system")],
)
def test_a_store_whose_disk_refuses_costs_one_warning(
    scratch: Scratch, disk: Callable[[str], Path], options: str, reason: str
) -> None:
    scratch.built()
    before = scratch.artifacts()
    shutil.rmtree(scratch.folder / "build")
    scratch.store = disk(options)
    goes_on_without_its_store(scratch, reason, before)


def test_a_store_below_a_file_costs_one_warning(scratch: Scratch) -> None:
    scratch.built()
    before = scratch.artifacts()
    shutil.rmtree(scratch.folder / "build")
    scratch.store = scratch.folder / "dodo.py" / "store"
    goes_on_without_its_store(scratch, "Not a directory", before)


def goes_on_without_its_store(project: Scratch, reason: str, before: dict[str, bytes]) -> None:
    output = project.built()
    own = project.folder / "build" / ".partition" / "store" / "v1"
    (line,) = [line for line in output.splitlines() if "WARNING" in line]
    assert line.startswith(f"WARNING: store '{project.store / 'v1'}': {reason}")
    assert line.endswith(f"; this build uses '{own}' instead")
    # What was exported is kept: the disk refused only what was written.
    assert output.count("put the marks in: ") == 1
    assert project.artifacts() == before
    assert project.built() == UP_TO_DATE


def test_a_store_that_vanishes_is_made_anew(scratch: Scratch) -> None:
    scratch.built()
    before = scratch.artifacts()
    shutil.rmtree(scratch.store)
    output = scratch.built()
    assert steps(output) == ["export", "cut body.onnx", "cut tail.onnx", "prove"]
    assert output.endswith(UP_TO_DATE)  # since what is in the build folder came out again
    assert scratch.artifacts() == before


def test_a_store_that_vanishes_during_a_build_costs_one_warning(
    torch_scratch: Scratch, tmp_path: Path
) -> None:
    torch_scratch.built()
    before = torch_scratch.artifacts()
    torch_scratch.store = tmp_path / "other"
    with (torch_scratch.folder / "tiny.py").open("a") as file:
        remove = f"shutil.rmtree({str(torch_scratch.store)!r}, ignore_errors=True)"
        file.write(f"\n\nimport shutil\n\n{remove}\n")
    output = torch_scratch.built()
    assert output.count("WARNING") == 1
    assert {name: len(content) for name, content in torch_scratch.artifacts().items()}.keys() == (
        before.keys()
    )
    assert torch_scratch.artifacts()["end2end.onnx"] == before["end2end.onnx"]
