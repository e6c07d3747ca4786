"""Commands on the projects of a user who has ONNX files: output that nobody reads, mistakes."""

from __future__ import annotations

import subprocess

import pytest

from .conftest import LINE, TWO, Project


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("commands")
    project = Project(folder / "project", folder / "store")
    project.recipe(LINE, "one")
    project.recipe(TWO, "two")
    project.built()
    return project


@pytest.mark.parametrize(
    "command",
    [
        "build",
        "-n 2 build",
        "build --dry-run",
        "list --all",
        "info build:one:neck.onnx",
        "store",
        "verify",
        "suggest recipe=one",
        "origin build/one/neck.onnx",
    ],
)
@pytest.mark.parametrize("read", [0, 1])
def test_output_that_nobody_reads_ends_a_command_quietly(
    built: Project, command: str, read: int
) -> None:
    with subprocess.Popen(
        built.command(*command.split()),
        cwd=built.folder,
        env=built.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        if read:
            process.stdout.readline()
        process.stdout.close()
        complaints = process.stderr.read()
    assert complaints == b""
    # With a line read, all may have been written by then.
    assert process.returncode in ((0, 141) if read else (141,))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "-n -1 build",
            "-n -1: this is no number of processes; expected 0, or how many processes build at "
            "the same time",
        ),
        (
            "origin",
            "doit origin: no file is named; expected one or more, as in `doit origin "
            "build/yolov3/yolov3.onnx`",
        ),
        (
            "suggest recipe=one parts=x",
            "parts=x: this is not a number that it can be; expected a whole number from 2 to 8",
        ),
    ],
)
def test_what_a_command_cannot_do_is_told_in_one_line(
    built: Project, command: str, told: str
) -> None:
    run = built.doit(*command.split())
    assert run.returncode != 0
    assert run.stdout == f"ERROR: {told}\n"
