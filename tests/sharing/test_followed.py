"""Machines that share a store and whose models read files: each gets what belongs to its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.projects import TINY, Scratch, steps

from .shared import configure, made, warnings_in

READING = TINY.replace(
    "    return Tiny(width)\n",
    """\
    import numpy as np
    from pathlib import Path
    with Path("made").open("a") as stream:
        stream.write("x")
    model = Tiny(width)
    if Path("tuned").exists():
        with torch.no_grad():
            model.head.small.weight *= float(np.load("w.npy"))
    return model
""",
)


def clone(folder: Path, remote: Path, scale: float | None, more: str = "") -> Scratch:
    """Return a project on a machine of its own, whose model has a scale, or reads none."""
    project = Scratch(folder / "project", folder / "store")
    project.write("tiny.py", READING)
    project.edit("recipes/tiny.yaml", "  weights: {seed: 0}\n", "")
    configure(project, remote, more)
    train(project, scale)
    return project


def train(project: Scratch, scale: float | None) -> None:
    if scale is None:
        (project.folder / "tuned").unlink(missing_ok=True)
    else:
        project.write("tuned", "")
        np.save(project.folder / "w.npy", np.array(scale))


@pytest.mark.thorough
def test_a_shared_store_serves_each_machine_what_its_own_files_give(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    remote.mkdir()
    writes = "remote_write = true\n"
    states = (2.0, 3.0, None)
    first = [clone(tmp_path / f"first {scale}", remote, scale, writes) for scale in states]
    for project in first:
        project.built()
        assert made(project) == 1  # nobody else had its file
    artifacts = [project.artifacts() for project in first]
    assert len({one["end2end.onnx"] for one in artifacts}) == 3

    second = clone(tmp_path / "second", remote, None)
    for scale, expected in [*zip(states, artifacts, strict=True)] * 2:
        train(second, scale)
        told = second.built("build", "--dry-run").splitlines()[0]
        assert told.removeprefix("tiny: export: ") in ("fetch from the shared store", "up to date")
        output = second.built()
        assert (steps(output), warnings_in(output)) == ([], [])
        assert second.artifacts() == expected
    assert made(second) == 0
    # What was fetched is kept, with the ways to it: without the others there is nothing to do.
    configure(second, "")
    for scale, expected in zip(states, artifacts, strict=True):
        train(second, scale)
        assert steps(second.built()) == []
        assert second.artifacts() == expected


@pytest.mark.parametrize(
    "artifact",
    [[], pytest.param(["artifact=tail.onnx"], marks=pytest.mark.thorough)],
    ids=["all", "one segment"],
)
def test_what_is_pushed_is_pulled_by_who_has_the_same_files(
    tmp_path: Path, artifact: list[str]
) -> None:
    remote = tmp_path / "remote"
    remote.mkdir()
    one = clone(tmp_path / "one", remote, 2.0)
    one.built()
    assert not list(remote.iterdir())
    one.built("push")
    train(one, 3.0)
    one.built()
    one.built("push")

    other = clone(tmp_path / "other", remote, 2.0)
    other.built("pull", *artifact)
    train(other, 3.0)
    other.built("pull", *artifact)
    assert made(other) == 0
    names = {"tail.onnx"} if artifact else set(one.artifacts())
    assert names <= set(other.artifacts())
    assert other.artifacts()["tail.onnx"] == one.artifacts()["tail.onnx"]

    train(other, 4.0)
    run = other.doit("pull", *artifact)
    assert run.returncode != 0
    assert "it has no result of 'export' for the local state of recipe 'tiny'" in run.stdout
