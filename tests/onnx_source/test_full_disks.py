"""Disks that are full, or that refuse: what was done is kept where it can be, and the rest told."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from partition_core.base import disk
from partition_core.base.array_sets import save_sets
from partition_core.base.errors import BuildError, PartitionError, disk_problem
from partition_core.build.run import Run
from partition_core.graph import files
from partition_core.sources.onnx import source as onnx_source

from .projects import Project

RECIPE = """\
model: {source: onnx, path: detector.onnx}
partition: {save_file: part.onnx, from: [x], to: ['y']}
"""
HELPS = (
    "expected enough free space for the build; `doit prune` removes results that no build folder "
    "uses, and PARTITION_CORE_STORE can name a folder on another disk for the store"
)


def wide(size: int = 100_000) -> onnx.ModelProto:
    """Return a model that needs some room: its weights have four bytes each."""
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"], "/mul")],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size])],
        [numpy_helper.from_array(values, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def project(project: Project) -> Project:
    project.save(wide())
    project.recipe(RECIPE)
    return project


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Return what mounts a disk of a size at a folder, where that is allowed."""
    mounted: list[Path] = []

    def mount(folder: Path, options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
            pytest.skip("mounting a disk is not allowed here")
        mounted.append(folder)

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("size", ["200k", "600k", "1200k"])
def test_a_full_store_costs_a_warning_and_the_work_is_done_once(
    project: Project,
    small_disk: Callable[[Path, str], None],
    size: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_disk(project.store, f"size={size}")
    marked: list[Path] = []
    check = onnx_source.check_model

    def counted(model: object, name: str) -> None:
        marked.append(Path(name))
        check(model, name)  # type: ignore[arg-type]

    monkeypatch.setattr(onnx_source, "check_model", counted)
    assert set(project.make()) == {"end2end.onnx", "part.onnx"}
    (line,) = capsys.readouterr().err.splitlines()
    own = project.folder / "build" / ".partition" / "store" / "v1"
    assert line.startswith(f"WARNING: store '{project.store / 'v1'}': No space left on device, for")
    assert line.endswith(f"; this build uses '{own}' instead")
    # Once for the whole, unless there was no room to run it in.
    assert len(marked) == 1


def test_two_full_disks_are_told_with_what_helps(
    project: Project, small_disk: Callable[[Path, str], None]
) -> None:
    small_disk(project.store, "size=200k")
    small_disk(project.folder / "build", "size=300k")
    run = project.doit("build", "recipe=x")
    assert run.returncode != 0
    own = project.folder / "build" / ".partition" / "store" / "v1"
    (error,) = [line for line in run.stdout.splitlines() if line.startswith("ERROR")]
    told = f"ERROR: {own}: No space left on device, for '"
    assert error.startswith(told)
    assert error.removeprefix(told).partition("'")[0] in ("end2end.onnx", "extended.onnx")
    assert error.endswith(f"'; {HELPS}")
    assert "/work/" not in error
    assert "Traceback" not in run.stdout


REFUSING = {
    "a file": "Not a directory",
    "a disk that is only read": "Read-only file system",
    "a full disk": "No space left on device",
}


@pytest.mark.parametrize("kind", REFUSING)
def test_a_build_folder_that_cannot_be_written_is_found_before_the_work(
    project: Project,
    small_disk: Callable[[Path, str], None],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = project.folder / "build"
    if kind == "a file":
        folder.write_text("mine")
    elif kind == "a full disk":
        small_disk(folder, "size=64k")
        with (folder / "large").open("wb", buffering=0) as stream:
            while _wrote(stream.fileno()):
                pass
    else:
        small_disk(folder, "ro")
    (build,) = Run(project.folder, ["x"]).builds
    monkeypatch.setattr(onnx_source, "export", lambda *_: pytest.fail("it was exported"))
    before = sorted(project.folder.rglob("*"))
    with pytest.raises(BuildError) as error:
        build.carry_out("export", lambda _: None)
    told = str(error.value)
    assert told.startswith(f"build/x: cannot be written: {REFUSING[kind]}; expected ")
    rest = HELPS if kind == "a full disk" else f"make '{folder}' a folder that you may write to"
    assert told.endswith(rest)
    assert sorted(project.folder.rglob("*")) == before


def _wrote(handle: int) -> bool:
    try:
        return os.write(handle, bytes(4096)) > 0
    except OSError:
        return False


def test_a_build_folder_that_is_not_there_yet_is_not_made_for_a_look(project: Project) -> None:
    project.write("recipes/x.yaml", RECIPE.replace("['y']", "['z']"))
    with pytest.raises(PartitionError):
        Run(project.folder, ["x"])
    project.recipe(RECIPE)
    (build,) = Run(project.folder, ["x"]).builds
    build.plan.project.check_build_folder("x")
    assert not (project.folder / "build" / "x").exists()


WRITERS: dict[str, Callable[[Path], object]] = {
    "a model": lambda target: files.save(files.read_model(wide().SerializeToString()), target),
    "arrays": lambda target: save_sets([{"x": np.zeros(100_000)}], target),
    "whole files": lambda target: disk.write_whole(target, bytes(500_000)),
    "copies": lambda target: disk.copy_verified(
        _large(target), target, disk.file_digest(_large(target))
    ),
}


def _large(target: Path) -> Path:
    path = target.parent.parent / "large"
    path.write_bytes(bytes(500_000))
    return path


@pytest.mark.parametrize("what", WRITERS)
def test_whatever_is_written_to_a_full_disk_is_named(
    tmp_path: Path, small_disk: Callable[[Path, str], None], what: str
) -> None:
    small_disk(tmp_path / "disk", "size=100k")
    target = tmp_path / "disk" / "file.onnx"
    with pytest.raises(OSError, match="No space left") as error:
        WRITERS[what](target)
    shutil.rmtree(tmp_path / "disk", ignore_errors=True)
    assert str(disk_problem(error.value)) == f"{target}: No space left on device; {HELPS}"


def test_what_numpy_says_of_a_part_that_was_taken_gets_a_name(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, disk.writing(tmp_path / "file"):  # noqa: PT011
        raise OSError("153600 requested and 53696 written")
    assert str(disk_problem(error.value)) == f"{tmp_path / 'file'}: Input/output error"
